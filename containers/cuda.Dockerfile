# The same service on an NVIDIA GPU (driver r580 or newer), with TensorRT for engines:
#   docker build -f containers/cuda.Dockerfile -t harmonizer-cuda .
#   docker run --gpus all -p 8000:8000 harmonizer-cuda
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# PyCUDA is compiled here; the kernels are, by NVRTC, when they are first needed.
RUN python3 -m venv /opt/harmonizer \
 && /opt/harmonizer/bin/pip install --no-cache-dir -c constraints.txt ".[serve,tensorrt]"

FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home harmonizer
COPY --from=build /opt/harmonizer /opt/harmonizer
USER 10001
ENV PATH=/opt/harmonizer/bin:$PATH
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
CMD ["harmonizer", "serve", "--host", "0.0.0.0"]
