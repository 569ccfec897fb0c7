# One hospital's site: Flower's SuperNode under `rounds-site run`. Two variants, built in the repository:
#   with a GPU: the usual index gives torch with NVIDIA's libraries (5 GB); the driver comes from the machine
#     docker build -f deploy/site.Dockerfile -t teaching-rounds-site:0.1.0-gpu .
#   without: give the address of torch's own CPU index (about 200 MB)
#     docker build -f deploy/site.Dockerfile --build-arg TORCH_INDEX=... -t teaching-rounds-site:0.1.0 .
# another base needs Debian's tools, Python 3.11 under the name `python`, and its venv
ARG BASE=python:3.11.14-slim-bookworm
FROM ${BASE} AS build
ARG TORCH_INDEX=
# another torch than constraints.txt has, such as --build-arg TORCH="torch==2.13.0+cpu"; torchvision follows it
ARG TORCH=
# pip's settings of the machine that builds, where it needs some: mounted for the build, never copied
ARG PIP_CONFIG_FILE
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/rounds
COPY constraints.txt /src/constraints.txt
RUN if [ -n "${TORCH}" ]; then \
      echo "${TORCH}" > /src/torch.txt \
      && sed -i '/^torch\(vision\)\?==/d' /src/constraints.txt \
      && sed 's/ /\n/g' /src/torch.txt >> /src/constraints.txt \
      && rm /src/torch.txt; \
    fi \
    && /opt/rounds/bin/pip install --no-compile ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} -c /src/constraints.txt torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY shared /src/shared
COPY client /src/client
COPY server /src/server
RUN /opt/rounds/bin/pip install --no-compile -c /src/constraints.txt /src \
    && /opt/rounds/bin/pip uninstall --yes pip \
    && rm -r /src/build /src/*.egg-info
# What nobody uses there, 0.3 GB: torch's headers, tools and tests, and libraries' tests with their private keys.
# Compiled by content: layers round the times of files, and half of all modules would be compiled at every start.
# The last line shows that nothing is gone that is needed.
RUN rm -rf /opt/rounds/lib/python3*/site-packages/torch/include /opt/rounds/lib/python3*/site-packages/torch/test \
      /opt/rounds/lib/python3*/site-packages/Crypto/SelfTest \
    && find /opt/rounds/lib/python3*/site-packages/torch/bin -type f ! -name torch_shm_manager -delete \
    && find /opt/rounds/lib/python3*/site-packages -depth -type d \
      -regex '.*/site-packages/\(networkx\|numpy\|scipy\|sklearn\|sympy\)/.*/?tests' -exec rm -r {} + \
    && /opt/rounds/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash -x '/py3[0-9]*_' /opt/rounds/lib \
    && /opt/rounds/bin/python -c "import client.main, client.app, shared.models.teacher"

FROM ${BASE}
RUN groupadd --gid 10001 rounds \
    && useradd --uid 10001 --gid rounds --no-create-home --home-dir /tmp --shell /usr/sbin/nologin rounds \
    && install --directory --owner=rounds --group=rounds --mode=0700 /site /site/head
COPY --from=build /opt/rounds /opt/rounds
# nothing is asked of the network but the hub
ENV PATH=/opt/rounds/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 \
    HF_HUB_OFFLINE=1
USER 10001:10001
WORKDIR /site
VOLUME ["/site", "/site/head"]
# a killed node is let in again after about 55 s
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=5 \
    CMD ["python", "-m", "shared.processes.service_health", "/site/state/node.json"]
STOPSIGNAL SIGTERM
CMD ["rounds-site", "run", "/site/site.yaml"]
