import { withModelSession } from '../../onnx/index.js';

/** Opens a model of any size for the time of `use`; see {@link withModelSession}. */
export const withSession = withModelSession;
