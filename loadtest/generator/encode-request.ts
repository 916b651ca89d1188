import { must } from '../../src/core/index.js';
import type { LoadPlan, RequestTemplate, TrafficClass } from './plan.js';

/** Answers the bytes of a request (by its place) of a class (by its place); each pair is encoded once. */
export function requestEncoder({
  host,
  port,
  requests,
  classes,
}: LoadPlan): (request: number, trafficClass: number) => Buffer {
  const encoded = new Map<number, Buffer>();
  return (request, trafficClass) => {
    const key = request * classes.length + trafficClass;
    const known = encoded.get(key);
    if (known !== undefined) return known;
    const bytes = encode(
      `${host}:${port}`,
      must(requests[request], 'request'),
      must(classes[trafficClass], 'class'),
    );
    encoded.set(key, bytes);
    return bytes;
  };
}

function encode(host: string, { path, body }: RequestTemplate, { headers }: TrafficClass): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    `host: ${host}`,
    'content-type: application/json',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
