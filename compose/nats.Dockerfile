# NATS with a store that an unprivileged user can write to: a volume gets its owner from the image.
ARG NATS_IMAGE=nats:2-alpine
FROM ${NATS_IMAGE}
RUN mkdir -p /data && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
