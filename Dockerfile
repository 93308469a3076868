# A server for model files: python:slim, tellapart[serve], a user without rights, and nothing that writes.
#
#   docker build --tag tellapart-server .
#   docker run --read-only --publish 8000:8000 --volume "$PWD:/models:ro" tellapart-server \
#     /models/model.onnx --host 0.0.0.0 --token-file /models/token.txt

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN python -m venv /opt/tellapart \
 && /opt/tellapart/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve]" \
 && /opt/tellapart/bin/pip uninstall --yes pip

FROM python:3.12-slim
COPY --from=build /opt/tellapart /opt/tellapart
RUN useradd --no-create-home --uid 10001 tellapart
USER 10001
ENV PATH=/opt/tellapart/bin:$PATH PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/live', timeout=2)"]
ENTRYPOINT ["tellapart", "serve"]
