/** A sweep's progress for a person: a bar on a terminal, a line now and then anywhere else. */
import { SingleBar } from 'cli-progress';

/** The fields of `Progress` that are shown. */
export interface SweepProgress {
  total: number;
  done: number;
  states: { state: string; count: number }[];
  jobsPerHour: number | null;
  etaSeconds: number | null;
}

export interface ProgressDisplay {
  update(progress: SweepProgress): void;
  /** Something that happened, in a few words. */
  note(text: string): void;
  close(): void;
}

/** Without a terminal a line is printed at most this often, and at the end. */
const LINE_INTERVAL_MS = 3000;

export function openProgressDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  return stream.isTTY ? barDisplay(stream) : lineDisplay(stream);
}

/** `3 QUEUED, 2 RUNNING, 19 COMPLETED`: the states that have jobs. */
function countsInWords({ states }: SweepProgress): string {
  return states.filter(({ count }) => count > 0).map(({ state, count }) => `${count} ${state}`).join(', ');
}

function speedInWords({ done, total, jobsPerHour, etaSeconds }: SweepProgress): string {
  if (done === total || jobsPerHour === null) return '';
  return `${Math.round(jobsPerHour)} jobs/hour${etaSeconds === null ? '' : `, ${Math.ceil(etaSeconds)} s to go`}`;
}

function barDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  const bar = new SingleBar({ stream, format: '  {bar} {value}/{total}  {states}  {speed}  {note}', barsize: 24, hideCursor: true, clearOnComplete: false, linewrap: false });
  let started = false;
  let note = '';
  return {
    update(progress) {
      if (!started) bar.start(progress.total, 0, { states: '', speed: '', note });
      started = true;
      bar.update(progress.done, { states: countsInWords(progress), speed: speedInWords(progress), note });
    },
    note(text) {
      note = text;
      if (started) bar.update({ note });
    },
    close() {
      if (started) bar.stop();
    },
  };
}

function lineDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  let printedAt = 0;
  let note = '';
  return {
    update(progress) {
      if (progress.done < progress.total && Date.now() - printedAt < LINE_INTERVAL_MS) return;
      printedAt = Date.now();
      const words = [`${progress.done}/${progress.total} done`, countsInWords(progress), speedInWords(progress), note];
      stream.write(`  ${words.filter(Boolean).join(' | ')}\n`);
      note = '';
    },
    note(text) {
      note = text;
    },
    close() {},
  };
}
