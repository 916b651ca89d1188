import { must } from '../../core/index.js';
import type { OpenSession, Session, Tensor } from '../../core/index.js';
import { encodeModel, GraphBuilder } from '../../onnx/index.js';

/** A row-major matrix in float64. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** Which operand of a product stands transposed. */
const FORMS = ['none', 'left', 'right'] as const;

type Form = (typeof FORMS)[number];

/** Products of float64 matrices. ONNX Runtime multiplies, about thirty times as fast as a loop here would. */
export class Float64Products {
  readonly #sessions: ReadonlyMap<Form, Session>;

  private constructor(sessions: ReadonlyMap<Form, Session>) {
    this.#sessions = sessions;
  }

  /** Opens it for the time of `use`. */
  static async within<Result>(
    openSession: OpenSession,
    use: (products: Float64Products) => Promise<Result>,
  ): Promise<Result> {
    const sessions = new Map<Form, Session>();
    try {
      for (const form of FORMS) sessions.set(form, await openSession(productModel(form)));
      return await use(new Float64Products(sessions));
    } finally {
      for (const session of sessions.values()) await session.release();
    }
  }

  /** `a · b`, a new matrix. */
  async multiply(a: Matrix, b: Matrix): Promise<Matrix> {
    return { rows: a.rows, columns: b.columns, data: await this.#run('none', a, b) };
  }

  /** `aᵀ · b`, a new matrix. */
  async multiplyLeftTransposed(a: Matrix, b: Matrix): Promise<Matrix> {
    return { rows: a.columns, columns: b.columns, data: await this.#run('left', a, b) };
  }

  /** `a · bᵀ`, a new matrix. */
  async multiplyRightTransposed(a: Matrix, b: Matrix): Promise<Matrix> {
    return { rows: a.rows, columns: b.rows, data: await this.#run('right', a, b) };
  }

  async #run(form: Form, a: Matrix, b: Matrix): Promise<Float64Array> {
    const session = must(this.#sessions.get(form), form);
    const { product } = await session.run({ a: tensorOf(a), b: tensorOf(b) });
    return must(product, 'product').data as Float64Array;
  }
}

function tensorOf({ rows, columns, data }: Matrix): Tensor {
  return { dtype: 'float64', dims: [rows, columns], data };
}

function productModel(form: Form): Uint8Array {
  const builder = new GraphBuilder();
  const operand = (name: string, transposed: boolean): string => {
    const value = builder.input(name, 'float64', [`${name} rows`, `${name} columns`]);
    return transposed ? builder.op.Transpose(value, { perm: [1, 0] }) : value;
  };
  builder.node('MatMul', [operand('a', form === 'left'), operand('b', form === 'right')], {}, ['product']);
  builder.output('product', 'float64');
  return encodeModel(builder.build());
}
