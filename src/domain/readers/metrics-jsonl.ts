/** Our own `metrics.jsonl`: one JSON object a line, only ever added to. */
import { METRICS_FILE } from '../layout.ts';
import { parseMetricLine } from '../metric-line.ts';
import { PointCollector, type MetricReader } from './reader.ts';
import { completeLines, planGrowing, readGrowing } from './text-lines.ts';

const WHAT = 'a line of metrics.jsonl';
const VALUE = 'a value in metrics.jsonl';

export const metricsJsonl: MetricReader = {
  name: 'metrics.jsonl',
  plan: (files, cursors) => files.filter((file) => file.path === METRICS_FILE).flatMap((file) => planGrowing(file, cursors) ?? []),
  read: (plan, [content], options) => readGrowing(plan, content, (appended) => {
    const points = new PointCollector();
    const { texts, cursor } = completeLines(appended, plan.from, options, points, WHAT);
    for (const text of texts) {
      const line = parseMetricLine(text, { nextStep: cursor.nextStep, now: options.now });
      if (!line.ok) {
        points.drop(`${WHAT} ${line.reason}`);
        continue;
      }
      cursor.nextStep = line.nextStep;
      for (const reason of line.refused) points.drop(`${VALUE} ${reason}`);
      for (const { key, value } of line.values) points.add(key, line.step, value, line.time);
    }
    return points.result(cursor);
  }),
};
