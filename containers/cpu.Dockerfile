# The web service, `harmonizer serve`, on the CPU:
#   docker build -f containers/cpu.Dockerfile -t harmonizer . && docker run -p 8000:8000 harmonizer
FROM python:3.11-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python -m venv /opt/harmonizer \
 && /opt/harmonizer/bin/pip install --no-cache-dir -c constraints.txt ".[serve]"

FROM python:3.11-slim-bookworm
COPY --from=build /opt/harmonizer /opt/harmonizer
RUN useradd --uid 10001 --create-home harmonizer
USER 10001
ENV PATH=/opt/harmonizer/bin:$PATH
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
CMD ["harmonizer", "serve", "--host", "0.0.0.0"]
