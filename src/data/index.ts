export type * from './dataset.js';
export { readDataset, type ColumnMapping } from './readers.js';
export {
  firstInteractions,
  holdOutAfter,
  holdOutLastBasket,
  holdOutLastItem,
  sequencesOf,
  type Sequences,
  type Split,
} from './splits.js';
export { readItems, readUsers, writeItems, writeUsers, type Table, type UserHistory } from './parquet.js';
export { readColumnNames, readTable } from './table-file.js';
export { readRequestRows } from './request-rows.js';
export { createDemoWorld, type DemoWorld, type DemoWorldOptions } from './demo-world.js';
