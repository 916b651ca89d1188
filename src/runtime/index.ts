export { openSession } from './onnxruntime.js';
