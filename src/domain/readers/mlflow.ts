/**
 * MLflow's `mlruns` folder: `mlruns/<experiment>/<run>/metrics/<key>`, a file a key, a line a value: milliseconds, value, step. A key with
 * slashes lies in folders. Where a job has several runs, the one whose file was written last overwrites the others at the same step.
 */
import { parseMetricTime } from '../metric-time.ts';
import { metricKeyProblem, PointCollector, stepProblem, type MetricReader } from './reader.ts';
import { completeLines, planGrowing, readGrowing } from './text-lines.ts';

const METRIC_FILE = /(?:^|\/)mlruns\/[^/]+\/[^/]+\/metrics\/(.+)$/;
const WHAT = 'a line of an MLflow metric';
const NON_FINITE: Record<string, number> = { nan: NaN, inf: Infinity, '-inf': -Infinity };

export const mlflow: MetricReader = {
  name: 'MLflow',
  plan(files, cursors) {
    const metrics = files.filter((file) => METRIC_FILE.test(file.path));
    return metrics.toSorted((a, b) => a.modifiedAt.getTime() - b.modifiedAt.getTime()).flatMap((file) => planGrowing(file, cursors) ?? []);
  },
  read: (plan, [content], options) => readGrowing(plan, content, (appended) => {
    const points = new PointCollector();
    const { texts, cursor } = completeLines(appended, plan.from, options, points, WHAT);
    const key = keyOf(plan.stream);
    const keyProblem = metricKeyProblem(key);
    if (keyProblem !== null) {
      points.drop(`${WHAT} has ${keyProblem}`, texts.length);
      return points.result(cursor);
    }
    for (const text of texts) {
      const [time = '', value = '', step = '0'] = text.trim().split(' ');
      const number = NON_FINITE[value.toLowerCase()] ?? (value === '' ? undefined : Number(value));
      if (!/^\d+$/.test(time) || number === undefined || (Number.isNaN(number) && value.toLowerCase() !== 'nan')) points.drop(`${WHAT} is not "time value step"`);
      else if (stepProblem(Number(step)) !== null) points.drop(`${WHAT} has ${stepProblem(Number(step))}`);
      else points.add(key, Number(step), number, parseMetricTime(Number(time)) ?? options.now);
    }
    return points.result(cursor);
  }),
};

function keyOf(path: string): string {
  return METRIC_FILE.exec(path)?.[1] ?? '';
}
