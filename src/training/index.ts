export { Trainer } from './trainer.js';
export type { StepResult, TrainerOptions } from './trainer.js';
export type { AdamOptions } from './adam.js';
export { isRowSparse } from './backward.js';
export { selectOutputs } from './select-outputs.js';
export { dropoutMask } from './dropout-kernel.js';
export { ProgressReporter } from './progress.js';
export type { ProgressOptions, TrainingProgress } from './progress.js';
