import { WhittleError } from '../core/index.js';
import { webAssembly } from './webassembly.js';
import type { WasmMemory } from './webassembly.js';

const PAGE_BYTES = 65_536;
const MAX_PAGES = 65_536;
/** Cache line, so that two regions never share one. */
const ALIGNMENT_BYTES = 64;

/** A float32 array at a fixed address. */
export interface FloatRegion {
  /** Byte address, what the kernels take. */
  readonly address: number;
  /** Number of elements. */
  readonly length: number;
  /** A view that is valid until the memory grows: ask for it again after any allocation. */
  view(): Float32Array;
}

/**
 * Float32 arrays in one WebAssembly memory: ONNX Runtime reads and writes them in place and the SIMD kernels work on
 * them. Regions are never given back; the memory lives as long as its owner.
 */
export class FloatMemory {
  readonly memory: WasmMemory = new webAssembly.Memory({ initial: 1, maximum: MAX_PAGES });
  #usedBytes = 0;

  /** A zeroed region. @throws MODEL_TOO_LARGE past 4 GiB in total, all that 32-bit addresses reach. */
  allocate(length: number): FloatRegion {
    const address = this.#usedBytes;
    const end = address + Math.ceil((length * 4) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    this.#growTo(end);
    this.#usedBytes = end;
    const { memory } = this;
    let view = new Float32Array(memory.buffer, address, length);
    return {
      address,
      length,
      view: () => {
        if (view.buffer !== memory.buffer) view = new Float32Array(memory.buffer, address, length);
        return view;
      },
    };
  }

  #growTo(bytes: number): void {
    const missing = Math.ceil((bytes - this.memory.buffer.byteLength) / PAGE_BYTES);
    if (missing <= 0) return;
    if (bytes > MAX_PAGES * PAGE_BYTES) throw tooLarge(bytes);
    try {
      this.memory.grow(missing);
    } catch (error) {
      throw tooLarge(bytes, error);
    }
  }
}

function tooLarge(bytes: number, cause?: unknown): WhittleError {
  return new WhittleError(
    'MODEL_TOO_LARGE',
    `Training would need ${bytes} bytes for weights, gradients and moments: train fewer or smaller tables`,
    { bytes, limit: MAX_PAGES * PAGE_BYTES },
    cause,
  );
}
