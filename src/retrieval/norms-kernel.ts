/** 1 / Euclidean length of each row of `vectors` `[rows, dimensions]`; 0 for a zero row. */
export function inverseNorms(vectors: Float32Array, dimensions: number): Float32Array {
  const inverse = new Float32Array(vectors.length / dimensions);
  for (let row = 0; row < inverse.length; row++) {
    let square = 0;
    for (let at = row * dimensions; at < (row + 1) * dimensions; at++)
      square += (vectors[at] as number) * (vectors[at] as number);
    inverse[row] = square > 0 ? 1 / Math.sqrt(square) : 0;
  }
  return inverse;
}
