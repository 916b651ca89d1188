# syntax=docker/dockerfile:1

# Build: compiles hnswlib-node and the TypeScript sources, then drops what is only needed for that.
FROM node:20-slim AS build
RUN apt-get update \
  && apt-get install --yes --no-install-recommends python3 make g++ \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# The packages first, so that a change of the sources does not install them again. The only install script that is
# wanted is that of hnswlib-node; onnxruntime-node and lmdb bring their binaries in the package.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts && npm rebuild hnswlib-node
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY loadtest ./loadtest
# ONNX Runtime's package holds the binaries of every platform; the image runs on one.
RUN npm run build \
  && npm prune --omit=dev --ignore-scripts \
  && rm -rf node_modules/onnxruntime-node/bin/napi-v*/darwin node_modules/onnxruntime-node/bin/napi-v*/win32

FROM node:20-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json whittle.yaml ./
COPY models/demo ./models/demo
# The event store; mount a volume here to keep it.
RUN mkdir .whittle && chown node:node .whittle
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/src/cli/main.js", "serve", "models/demo", "--config", "whittle.yaml", "--host", "0.0.0.0"]
