"""The federation's own folder: certificates, admitted sites, app bundles.

In: what the coordinator admits and registers. Out: files that services and commands read; the CA's key stays here.
"""
