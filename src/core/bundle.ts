import type { DataType } from './tensor.js';

/**
 * `bundle.json`: everything needed to serve one recommender. Paths are relative to the bundle's folder, with forward
 * slashes. An item's **row** is its 0-based row in the catalogue; models may shift it (see `offset`).
 */
export interface BundleManifest {
  readonly format: 1;
  readonly name: string;
  /** How the bundle was made: command, data set, seed. No clock and no machine in it, so that a rebuild is equal. */
  readonly provenance: Readonly<Record<string, unknown>>;
  readonly catalogue: CatalogueSpec;
  /** Known users and their histories: columns `user` (text) and `history` (list of item ids, oldest first). */
  readonly users?: { readonly file: string };
  /** What the ranker variants take; absent where the bundle ranks by retrieval alone. */
  readonly contract?: Contract;
  readonly retrievers: Readonly<Record<string, RetrieverSpec>>;
  /** By name; `full` is the one that the others are judged against. Empty where there is no ranker. */
  readonly variants: Readonly<Record<string, VariantSpec>>;
  readonly pipelines: Readonly<Record<string, PipelineSpec>>;
  /** Pipeline used where no experiment decides. */
  readonly defaultPipeline: string;
  /** Every file of the bundle but bundle.json. */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly bytes: number }>>;
}

export interface CatalogueSpec {
  /** Parquet file: one row an item, in row order. */
  readonly file: string;
  readonly idColumn: string;
  readonly titleColumn?: string;
  /** Number by which unknown users are answered, larger first. */
  readonly popularityColumn?: string;
  readonly rows: number;
}

/** Binds each input of the ranker to where its values come from and how often. */
export interface Contract {
  readonly inputs: readonly InputBinding[];
  /** The output with one score a candidate, `[candidates]` or `[candidates, 1]`; larger is better. */
  readonly output: string;
}

export interface InputBinding {
  readonly name: string;
  readonly dtype: DataType;
  /** First entry is the row dimension. */
  readonly dims: readonly (number | string)[];
  /** One row a request, or one row a candidate. */
  readonly per: 'request' | 'candidate';
  readonly source: InputSource;
}

export type InputSource =
  /** Last `maxLength` items of the user, most recent last, as row + offset; filled with `pad` in front. */
  | { readonly from: 'history'; readonly maxLength: number; readonly offset: number; readonly pad: number }
  /** The candidate's row + offset. */
  | { readonly from: 'candidate'; readonly offset: number }
  /** Which request of the batch the candidate row belongs to, int64 `[candidates]`. */
  | { readonly from: 'request_index' }
  /** A number or vector that the request carries under `inputs.<field>`; `query_vector` is the search's own. */
  | { readonly from: 'request'; readonly field: string }
  /** A number column of the catalogue. */
  | { readonly from: 'column'; readonly column: string }
  /** Row vectors in a raw little-endian float32 file `[rows, dimensions]`. */
  | { readonly from: 'vectors'; readonly file: string; readonly dimensions: number }
  /** The score that retrieval gave the candidate (0 where it was not retrieved). */
  | { readonly from: 'retrieval' }
  /** Number of `boundaries` (unix seconds, ascending) at or before the request's time, int64 `[requests]`. */
  | { readonly from: 'time'; readonly boundaries: readonly number[] };

export interface VariantSpec {
  readonly file: string;
  /** The variant this one was made from; absent for `full`. */
  readonly parent?: string;
  /** The recipe that made it, as given. */
  readonly recipe?: unknown;
  /** The recipe's report, a JSON file. */
  readonly report?: string;
}

export type RetrieverSpec =
  /** A user tower (ONNX, per-request inputs) whose vector is looked up in an index of item vectors. */
  | {
      readonly kind: 'tower';
      readonly file: string;
      readonly inputs: readonly InputBinding[];
      readonly output: string;
      readonly index: IndexSpec;
    }
  /** The request brings the vector itself (`query_vector`). */
  | { readonly kind: 'vector'; readonly index: IndexSpec }
  /** BM25 over text columns of the catalogue. */
  | { readonly kind: 'text'; readonly file: string };

export interface IndexSpec {
  readonly kind: 'hnsw' | 'flat';
  readonly metric: 'dot' | 'cosine';
  readonly dimensions: number;
  /** Item vectors, raw little-endian float32 `[rows, dimensions]`. */
  readonly vectors: string;
  /** hnsw: the built graph. */
  readonly file?: string;
  readonly m?: number;
  readonly efConstruction?: number;
  readonly efSearch?: number;
  /** hnsw: distance by which the graph is linked; default ip. */
  readonly space?: 'ip' | 'l2';
  /** Share of the exact k nearest rows that the best graph found, measured on users when the bundle was made. */
  readonly recall?: { readonly k: number; readonly recall: number };
}

/** Retrieve `candidates` items, rank them with a variant, cut to k. Without a ranker the retrieval's order stands. */
export interface PipelineSpec {
  readonly ranker?: string;
  readonly candidates: number;
  /** Retriever of /v1/recommend; absent where the bundle cannot recommend. */
  readonly recommend?: string;
  /** Retriever of /v1/search. */
  readonly search?: string;
  /**
   * Share of the ranker's standardised score in a search's final score, 0 to 1 (1: the ranker alone). Absent: the
   * retrieval's order stands. A ranker that reads the history counts only where there is one.
   */
  readonly searchRankerWeight?: number;
}
