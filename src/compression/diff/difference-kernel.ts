/** Numbers in an array of any element type that holds floats. */
export type Floats = Float32Array | Float64Array;

/** Running sums of a comparison of two tensors, for {@link errorOf}. */
export interface DifferenceSums {
  elements: number;
  /** Elements that are not finite in the one tested but are in the reference. */
  nonFinite: number;
  reference: number;
  actual: number;
  product: number;
  difference: number;
  maxAbsolute: number;
}

/** How far a tensor is from a reference. */
export interface TensorError {
  readonly elements: number;
  readonly maxAbsolute: number;
  /**
   * Signal to quantization noise, 10 log10(Σ r² / Σ (a − r)²) in decibels. Null where there is no number: where nothing
   * differs (`maxAbsolute` is 0), the reference is all zero, or `nonFinite` is not 0.
   */
  readonly sqnrDb: number | null;
  /** Cosine of the angle between the two; null where one is all zero. */
  readonly cosine: number | null;
  /** Elements that are infinite or no number where the reference is finite. */
  readonly nonFinite: number;
}

export function newSums(): DifferenceSums {
  return { elements: 0, nonFinite: 0, reference: 0, actual: 0, product: 0, difference: 0, maxAbsolute: 0 };
}

/** Adds `actual` against `reference`, equally long; elements that are not finite in the reference count for nothing. */
export function addDifference(sums: DifferenceSums, reference: Floats, actual: Floats): void {
  let { elements, nonFinite, maxAbsolute } = sums;
  let [referenceSum, actualSum, productSum, differenceSum] = [0, 0, 0, 0];
  for (let i = 0; i < reference.length; i++) {
    const r = reference[i] as number;
    const a = actual[i] as number;
    if (!Number.isFinite(r)) continue;
    elements++;
    if (!Number.isFinite(a)) {
      nonFinite++;
      continue;
    }
    const difference = a - r;
    referenceSum += r * r;
    actualSum += a * a;
    productSum += r * a;
    differenceSum += difference * difference;
    const size = Math.abs(difference);
    if (size > maxAbsolute) maxAbsolute = size;
  }
  sums.elements = elements;
  sums.nonFinite = nonFinite;
  sums.maxAbsolute = maxAbsolute;
  sums.reference += referenceSum;
  sums.actual += actualSum;
  sums.product += productSum;
  sums.difference += differenceSum;
}

export function errorOf(sums: DifferenceSums): TensorError {
  const { elements, nonFinite, reference, actual, product, difference, maxAbsolute } = sums;
  const measurable = nonFinite === 0 && reference > 0 && difference > 0;
  return {
    elements,
    maxAbsolute,
    sqnrDb: measurable ? 10 * Math.log10(reference / difference) : null,
    cosine: reference > 0 && actual > 0 ? Math.min(1, product / Math.sqrt(reference * actual)) : null,
    nonFinite,
  };
}
