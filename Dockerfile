# The agent and the server in one image; what a container does is its command: `agent` (default) or `serve`.
# Libraries are the locked ones, checked by hash. BASE_IMAGE may be a mirror's or another Python 3.11 to 3.13.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python3 -m venv /opt/millhand
# An own authority may be given while building: --secret id=ca,src=bundle.pem. It does not stay in the image.
COPY requirements/image.txt requirements/build.txt requirements/
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && /opt/millhand/bin/pip install --only-binary=:all: --require-hashes -r requirements/image.txt \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --only-binary=:all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY handlers handlers
COPY server server
COPY millhand_pytest millhand_pytest
RUN /opt/build/bin/python -m build --no-isolation --wheel --outdir dist . \
    && /opt/millhand/bin/pip install --no-index --no-deps dist/*.whl \
    && /opt/millhand/bin/pip uninstall --yes pip \
    && /opt/millhand/bin/python -m compileall -q /opt/millhand/lib

FROM ${BASE_IMAGE}
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/millhand --create-home millhand
COPY --from=build /opt/millhand /opt/millhand
ENV PATH=/opt/millhand/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MILLHAND_STATE_DIR=/var/lib/millhand/agent \
    MILLHAND_SERVER_DB=sqlite:////var/lib/millhand/server.db
USER 10001:10001
WORKDIR /var/lib/millhand
VOLUME /var/lib/millhand
ENTRYPOINT ["millhand"]
CMD ["agent"]
