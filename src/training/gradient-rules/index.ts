import { ACTIVATION_RULES } from './activations.js';
import { ELEMENTWISE_RULES } from './elementwise.js';
import { LOSS_RULES } from './losses.js';
import { MATMUL_RULES } from './matmul.js';
import { MOVEMENT_RULES } from './movement.js';
import { NORMALISATION_RULES } from './normalisation.js';
import { REDUCTION_RULES } from './reductions.js';
import type { Rules } from './rule.js';

export { RuleContext, gradientUnsupported } from './rule.js';
export type { RuleScope, ValueShape } from './rule.js';

/** Every operator that has a gradient. */
export const GRADIENT_RULES: Rules = {
  ...ELEMENTWISE_RULES,
  ...ACTIVATION_RULES,
  ...NORMALISATION_RULES,
  ...REDUCTION_RULES,
  ...MATMUL_RULES,
  ...MOVEMENT_RULES,
  ...LOSS_RULES,
};
