/** Side of the blocks that are eliminated at once. */
const BLOCK = 64;

/**
 * Inverts a symmetric positive definite matrix `[size, size]` (row-major float64) in place. Only its lower triangle is
 * read; both triangles are written. Blocked symmetric sweep (Goodnight 1979): sweeping block K turns A_KK into
 * −A_KK⁻¹, A_iK into A_iK·A_KK⁻¹ and A_ij into A_ij − A_iK·A_KK⁻¹·A_Kj; after all blocks A holds −A⁻¹. About size³ / 2
 * multiply-adds.
 */
export function invertSymmetric(matrix: Float64Array, size: number): void {
  const panel = new Float64Array(size * BLOCK);
  const scaled = new Float64Array(size * BLOCK);
  const pivot = new Float64Array(BLOCK * BLOCK);
  for (let start = 0; start < size; start += BLOCK) {
    const width = Math.min(BLOCK, size - start);
    readPanel(matrix, size, start, width, panel, pivot);
    sweepPivot(pivot, width);
    multiplyPanel(panel, pivot, size, width, scaled);
    updateLower(matrix, size, scaled, panel, width);
    writePanel(matrix, size, start, width, scaled, pivot);
  }
  negateAndMirror(matrix, size);
}

/** Copies the columns of the block, of all rows, out of the lower triangle; rows in the block are zero in `panel`. */
function readPanel(
  matrix: Float64Array,
  size: number,
  start: number,
  width: number,
  panel: Float64Array,
  pivot: Float64Array,
): void {
  for (let row = 0; row < size; row++) {
    const inBlock = row >= start && row < start + width;
    for (let column = 0; column < width; column++) {
      const other = start + column;
      const value = (row >= other ? matrix[row * size + other] : matrix[other * size + row]) as number;
      panel[row * BLOCK + column] = inBlock ? 0 : value;
      if (inBlock) pivot[(row - start) * BLOCK + column] = value;
    }
  }
}

/** Inverts the block by Gauss-Jordan, whose pivots are positive for a positive definite matrix. */
function sweepPivot(pivot: Float64Array, width: number): void {
  for (let k = 0; k < width; k++) {
    const inverse = 1 / (pivot[k * BLOCK + k] as number);
    pivot[k * BLOCK + k] = 1;
    for (let column = 0; column < width; column++)
      pivot[k * BLOCK + column] = (pivot[k * BLOCK + column] as number) * inverse;
    for (let row = 0; row < width; row++) {
      if (row === k) continue;
      const factor = pivot[row * BLOCK + k] as number;
      pivot[row * BLOCK + k] = 0;
      for (let column = 0; column < width; column++)
        pivot[row * BLOCK + column] =
          (pivot[row * BLOCK + column] as number) - factor * (pivot[k * BLOCK + column] as number);
    }
  }
}

/** scaled = panel · pivot. */
function multiplyPanel(
  panel: Float64Array,
  pivot: Float64Array,
  size: number,
  width: number,
  scaled: Float64Array,
): void {
  scaled.fill(0);
  for (let row = 0; row < size; row++)
    for (let k = 0; k < width; k++) {
      const factor = panel[row * BLOCK + k] as number;
      if (factor === 0) continue;
      for (let column = 0; column < width; column++)
        scaled[row * BLOCK + column] =
          (scaled[row * BLOCK + column] as number) + factor * (pivot[k * BLOCK + column] as number);
    }
}

/**
 * matrix[i, j] −= scaled[i] · panel[j] for j ≤ i, in tiles of 4 × 4. Rows of the block are zero in both and stay as
 * they are.
 */
function updateLower(
  matrix: Float64Array,
  size: number,
  scaled: Float64Array,
  panel: Float64Array,
  width: number,
): void {
  for (let row = 0; row < size; row += 4)
    for (let column = 0; column <= row; column += 4)
      if (row + 4 <= size) updateTile(matrix, size, scaled, panel, row, column, width);
      else updateEdge(matrix, size, scaled, panel, row, column, width);
}

/** One 4 × 4 tile with its sums in local variables; on the diagonal it also writes above it, which is never read. */
function updateTile(
  matrix: Float64Array,
  size: number,
  scaled: Float64Array,
  panel: Float64Array,
  row: number,
  column: number,
  width: number,
): void {
  let s00 = 0,
    s01 = 0,
    s02 = 0,
    s03 = 0;
  let s10 = 0,
    s11 = 0,
    s12 = 0,
    s13 = 0;
  let s20 = 0,
    s21 = 0,
    s22 = 0,
    s23 = 0;
  let s30 = 0,
    s31 = 0,
    s32 = 0,
    s33 = 0;
  const left = row * BLOCK;
  const right = column * BLOCK;
  for (let k = 0; k < width; k++) {
    const a0 = scaled[left + k] as number;
    const a1 = scaled[left + BLOCK + k] as number;
    const a2 = scaled[left + 2 * BLOCK + k] as number;
    const a3 = scaled[left + 3 * BLOCK + k] as number;
    const b0 = panel[right + k] as number;
    const b1 = panel[right + BLOCK + k] as number;
    const b2 = panel[right + 2 * BLOCK + k] as number;
    const b3 = panel[right + 3 * BLOCK + k] as number;
    s00 += a0 * b0;
    s01 += a0 * b1;
    s02 += a0 * b2;
    s03 += a0 * b3;
    s10 += a1 * b0;
    s11 += a1 * b1;
    s12 += a1 * b2;
    s13 += a1 * b3;
    s20 += a2 * b0;
    s21 += a2 * b1;
    s22 += a2 * b2;
    s23 += a2 * b3;
    s30 += a3 * b0;
    s31 += a3 * b1;
    s32 += a3 * b2;
    s33 += a3 * b3;
  }
  const corner = row * size + column;
  subtractRow(matrix, corner, s00, s01, s02, s03);
  subtractRow(matrix, corner + size, s10, s11, s12, s13);
  subtractRow(matrix, corner + 2 * size, s20, s21, s22, s23);
  subtractRow(matrix, corner + 3 * size, s30, s31, s32, s33);
}

function subtractRow(matrix: Float64Array, at: number, s0: number, s1: number, s2: number, s3: number): void {
  matrix[at] = (matrix[at] as number) - s0;
  matrix[at + 1] = (matrix[at + 1] as number) - s1;
  matrix[at + 2] = (matrix[at + 2] as number) - s2;
  matrix[at + 3] = (matrix[at + 3] as number) - s3;
}

/** What is left of a tile in the last rows. */
function updateEdge(
  matrix: Float64Array,
  size: number,
  scaled: Float64Array,
  panel: Float64Array,
  row: number,
  column: number,
  width: number,
): void {
  for (let i = row; i < size; i++)
    for (let j = column; j < Math.min(column + 4, i + 1); j++) {
      let sum = 0;
      for (let k = 0; k < width; k++)
        sum += (scaled[i * BLOCK + k] as number) * (panel[j * BLOCK + k] as number);
      matrix[i * size + j] = (matrix[i * size + j] as number) - sum;
    }
}

/** Writes the block's columns back into the lower triangle. */
function writePanel(
  matrix: Float64Array,
  size: number,
  start: number,
  width: number,
  scaled: Float64Array,
  pivot: Float64Array,
): void {
  for (let row = 0; row < size; row++)
    for (let column = 0; column < width; column++) {
      const other = start + column;
      if (row >= start && row < start + width)
        matrix[row * size + other] = -(pivot[(row - start) * BLOCK + column] as number);
      else
        matrix[row >= other ? row * size + other : other * size + row] = scaled[
          row * BLOCK + column
        ] as number;
    }
}

function negateAndMirror(matrix: Float64Array, size: number): void {
  for (let row = 0; row < size; row++)
    for (let column = 0; column <= row; column++) {
      const value = -(matrix[row * size + column] as number);
      matrix[row * size + column] = value;
      matrix[column * size + row] = value;
    }
}
