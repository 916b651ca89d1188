/** One column of a table: text, or numbers where a missing value is NaN. */
export type Column = readonly string[] | Float64Array;

/** The items of a data set. An item's **index** is its position in `ids`. */
export interface Catalogue {
  readonly ids: readonly string[];
  /** One title an item; the id where the data has none. */
  readonly titles: readonly string[];
  /** Further columns by name, each as long as `ids`. */
  readonly columns: Readonly<Record<string, Column>>;
}

/** What users did, as columns of equal length, sorted by user, then time, then the row in the file. */
export interface Interactions {
  /** Index into `Dataset.users`. */
  readonly user: Int32Array;
  /** Index into `Catalogue.ids`. */
  readonly item: Int32Array;
  /** Unix seconds. */
  readonly timeSeconds: Float64Array;
  /** Rating, quantity or another strength; 1 where the data has none. */
  readonly value: Float32Array;
  /** Number of the basket the interaction belongs to; interactions of one basket share it. */
  readonly basket?: Int32Array;
}

/** A query with the items judged relevant to it. */
export interface JudgedQuery {
  readonly text: string;
  /** Part of the data it belongs to, as the data's files name it ('train', 'validation'); 'all' where they name none. */
  readonly split: string;
  /** Item indexes. */
  readonly relevant: readonly number[];
  /** Graded relevance, aligned with `relevant`; larger is better. */
  readonly gains: readonly number[];
  /** Who asked, index into `Dataset.users`, where known. */
  readonly user?: number;
  /** When it was asked, Unix seconds, where known. */
  readonly timeSeconds?: number;
}

export interface Dataset {
  readonly name: string;
  readonly catalogue: Catalogue;
  /** Ids of the users. */
  readonly users: readonly string[];
  readonly interactions: Interactions;
  readonly queries: readonly JudgedQuery[];
}
