/** Every kind of file that metrics are read from. */
import { metricsCsv } from './metrics-csv.ts';
import { metricsJsonl } from './metrics-jsonl.ts';
import { mlflow } from './mlflow.ts';
import type { MetricReader } from './reader.ts';
import { tensorboard } from './tensorboard.ts';
import { trackio } from './trackio.ts';
import { trainerState } from './trainer-state.ts';

/** In order of precedence: where two of them bring the same key at once, the first has it. */
export const METRIC_READERS: readonly MetricReader[] = [metricsJsonl, trackio, trainerState, metricsCsv, tensorboard, mlflow];
