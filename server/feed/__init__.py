"""The audit feed: a study's process hands its records to the hub, over gRPC with mutual TLS.

`feed.proto` is the contract; `feed_pb2*.py` are made from it (`make proto`) and never edited.
"""
