# syntax=docker/dockerfile:1
# The inference server: what infra/serving.lock names and nothing else; no torch, no DVC, no Prefect.
#
#   docker build -f infra/docker/serve.Dockerfile -t headstart-serve:0.1.0 .
#   docker build -f infra/docker/serve.Dockerfile --build-context workspace=../models -t headstart-serve:0.1.0 .
#
# The second line takes params.yaml and dvc.yaml from a workspace of your own. Where pip needs a configuration (a
# mirror, credentials), add --secret id=pip.conf,src=PATH: it is mounted while pip runs and stays in no layer.

# Pinned by tag. A registry that mirrors it gives the digest to pin by: append @sha256:... here.
ARG PYTHON=python:3.11.14-slim-bookworm

FROM scratch AS workspace
COPY params.yaml dvc.yaml /

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY infra/serving.lock infra/serving.lock
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m venv /opt/venv \
    && /opt/venv/bin/pip install -r infra/serving.lock \
    && /opt/venv/bin/pip install setuptools==84.2.1
# The package changes more often than its dependencies: its layer comes after theirs.
COPY pyproject.toml setup.py MANIFEST.in README.md params.yaml dvc.yaml .dvcignore .gitignore ./
COPY .dvc/config .dvc/config
COPY pipelines pipelines
COPY src src
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip uninstall --yes setuptools pip

FROM ${PYTHON}
COPY --from=build /opt/venv /opt/venv
WORKDIR /workspace
COPY --from=workspace /params.yaml /dvc.yaml ./
# Numeric, so that Kubernetes can tell that it is not root. The two folders are what the server writes, beside /tmp:
# bundles fetched from MLflow, and journals. Mount volumes there when the root is read-only.
RUN install -d -o 10001 -g 10001 .cache /journal
USER 10001:10001
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEADSTART_JOURNAL=/journal
EXPOSE 8000
# The server listens once its models are warm; the start period covers fetching them.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
# Models may follow as arguments; without any, all of params.yaml are served.
ENTRYPOINT ["headstart", "serve", "--host", "0.0.0.0", "--port", "8000"]
