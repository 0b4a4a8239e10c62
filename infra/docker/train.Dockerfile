# syntax=docker/dockerfile:1
# Two images from one file:
#
#   docker build -f infra/docker/train.Dockerfile --target servers -t headstart-servers:0.1.0 .
#   docker build -f infra/docker/train.Dockerfile -t headstart-train:0.1.0 .
#
# `servers` runs MLflow's and Prefect's servers and their migrations, without torch. Both projects publish images; these
# are made here because a client and its server should be one version, and because Prefect 3.8 needs the fastapi and
# sqlalchemy of requirements.lock (pyproject.toml says why). `train` runs flows: a Prefect worker, or a cron job.
# --build-context workspace=../models and --secret id=pip.conf,src=PATH work as in serve.Dockerfile. pip takes the CPU
# build of torch where its index offers one; otherwise the image grows by several gigabytes of CUDA.

# Pinned by tag. A registry that mirrors it gives the digest to pin by: append @sha256:... here.
ARG PYTHON=python:3.11.14-slim-bookworm

FROM scratch AS workspace
COPY params.yaml dvc.yaml .dvcignore /
COPY .dvc/config /.dvc/config
COPY pipelines /pipelines

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/venv

FROM build AS build-servers
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/venv/bin/pip install --constraint requirements.lock \
        mlflow prefect fastapi sqlalchemy boto3 flask-wtf psycopg2-binary \
    && /opt/venv/bin/pip uninstall --yes pip

FROM build AS build-train
COPY pyproject.toml setup.py MANIFEST.in README.md params.yaml dvc.yaml .dvcignore .gitignore ./
COPY .dvc/config .dvc/config
COPY pipelines pipelines
COPY src src
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/venv/bin/pip install --constraint requirements.lock setuptools wheel \
    && /opt/venv/bin/pip install --constraint requirements.lock --no-build-isolation ".[servers]" \
    && /opt/venv/bin/pip uninstall --yes pip

# What both images share. Prefect and DVC write below HOME; a tmpfs at /tmp is all that they need there.
FROM ${PYTHON} AS runtime
RUN install -d -o 10001 -g 10001 /workspace /journal
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=true \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DVC_NO_ANALYTICS=1 \
    DVC_SITE_CACHE_DIR=/tmp/dvc
USER 10001:10001

FROM runtime AS servers
COPY --from=build-servers /opt/venv /opt/venv
# One image, two servers on two ports: compose and Kubernetes name the right check for each.
HEALTHCHECK NONE
CMD ["mlflow", "server", "--help"]

FROM runtime AS train
COPY --from=build-train /opt/venv /opt/venv
COPY --from=workspace /params.yaml /dvc.yaml /.dvcignore /opt/workspace/
COPY --from=workspace /.dvc/config /opt/workspace/.dvc/config
COPY --from=workspace /pipelines /opt/workspace/pipelines
# The workspace itself is a volume: artifacts, DVC's cache and dvc.lock outlive the container. A job copies
# /opt/workspace over it before the worker starts, so that params.yaml always is the image's.
WORKDIR /workspace
ENV HEADSTART_JOURNAL=/journal
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]
CMD ["prefect", "worker", "start", "--pool", "headstart", "--type", "process", "--with-healthcheck", "--install-policy", "never"]
