/**
 * What runs on the machine while it is watched: Python's standard library only, sent with the command, nothing installed and nothing
 * written. It reads from standard input, one JSON object a line: `{"add": [[id, jobDirectory, attemptNumber], ...]}`, `{"remove": [id, ...]}`,
 * `{}` (we are still here). It says, likewise: `{"hello": version}`, `{"changed": [[id, [what, ...]], ...]}`, `{"beat": {...}}`, `{"fault": words}`.
 * To save a machine the processes of many small looks it also lists and reads: `{"ask": id, "list": [directory, ...], "depth", "most"}` and
 * `{"ask": id, "read": [[path, offset, count], ...]}` are answered by `{"answer": id, "rows": [...]}`, the last one with `"done": true`.
 *
 * It ends with its standard input. Where that does not end (a machine in between has died) it ends when it has heard nothing for LEASE
 * seconds, by an alarm, which also ends a write that nobody takes. What a job already has when it is added counts as changed.
 *
 * inotify does not see what other nodes write to a shared file system, so it looks: one stat a round for a job that has not started, four
 * for one that has, and now and then the entries of `checkpoints/`. What bounds the load is not the number of jobs but three shares: stats a
 * second, of a core, and of the time of a slow file system; with more jobs a round takes longer. It looks in slices, so that what is asked
 * and what was found does not wait for a round. NFS keeps what it knows of a file for up to a minute (acregmax), of a missing one too,
 * but asks its server when something is opened (close-to-open), so now and then it opens the directories and the metrics.
 */
import {
  ATTEMPTS_DIRECTORY, CHECKPOINTS_DIRECTORY, EVENTS_FILE, EXIT_RECORD_FILE, METRICS_FILE, OWNER_FILE, START_GUARD_DIRECTORY,
} from '../../domain/layout.ts';

/** What may change about a job. */
export const CHANGE_KINDS = ['started', 'exit', 'metrics', 'notes', 'checkpoints'] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** Seconds after which the program, having heard nothing, ends by itself. */
export const LEASE_SECONDS = 90;
/** Seconds between two signs of life of the program. */
export const BEAT_SECONDS = 10;

export const WATCH_PROGRAM = String.raw`# expgraph watch: tells its server which training jobs wrote something; reads only, ends with its connection.
import sys
if sys.version_info < (3, 5):
    print('{"fault": "python3 is version %d.%d, 3.5 is the least that can be used"}' % sys.version_info[:2])
    sys.exit(3)
import base64, errno, json, os, resource, select, signal, stat, time

LEASE, BEAT = ${LEASE_SECONDS}, ${BEAT_SECONDS}
# Looking may take 3 % of one core, a quarter of the time of a slow file system, and this many stats a second.
LEAST_ROUND, SLICE, CPU_SHARE, TIME_SHARE, MOST_STATS = 0.2, 0.02, 0.03, 0.25, 10000
DEEP_EVERY, QUIET = 2.0, 2.5
MOST_ENTRIES, MOST_LINE, JOBS_A_LINE, ROWS_A_LINE = 200, 1 << 20, 500, 400
stats = 0


def say(message):
    data = (json.dumps(message) + '\n').encode()
    while data:
        data = data[os.write(1, data):]


def stamp(path):
    global stats
    stats += 1
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def revalidate(path):
    global stats
    stats += 1
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        pass


def entries(path, depth, left):
    global stats
    listing = []
    try:
        with os.scandir(path) as found:
            for entry in found:
                if len(listing) >= left:
                    break
                stats += 1
                known = entry.stat(follow_symlinks=False)
                listing.append((entry.name, known.st_size, known.st_mtime_ns))
                if depth > 1 and entry.is_dir(follow_symlinks=False):
                    listing += entries(entry.path, depth - 1, left - len(listing))
    except OSError:
        pass
    return sorted(listing)


KINDS = {stat.S_IFREG: 'file', stat.S_IFDIR: 'directory', stat.S_IFLNK: 'link'}


def is_absence(error):
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


# False where something could not be read.
def listing(directory, depth, rows, most):
    whole = True
    try:
        with os.scandir(directory) as found:
            for entry in found:
                if len(rows) >= most:
                    return whole
                try:
                    known = entry.stat(follow_symlinks=False)
                    kind = KINDS.get(stat.S_IFMT(known.st_mode), 'other')
                    target = os.readlink(entry.path).decode('utf-8', 'replace') if kind == 'link' else None
                except OSError as error:
                    whole = whole and is_absence(error)
                    continue
                rows.append([entry.path.decode('utf-8', 'replace'), kind, known.st_size, str(known.st_ino), known.st_mtime_ns // 1000000, target])
                if kind == 'directory' and depth > 1:
                    whole = listing(entry.path, depth - 1, rows, most) and whole
    except OSError as error:
        whole = whole and is_absence(error)
    return whole


def content(path, offset, count):
    try:
        with open(path, 'rb') as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                return None
            source.seek(offset)
            return base64.b64encode(source.read(count)).decode()
    except OSError:
        return None


def answer(message):
    rows = []
    unreadable = [[directory] for directory in message.get('list', ()) if not listing(directory.encode(), message['depth'], rows, message['most'])]
    rows += unreadable
    for path, offset, count in message.get('read', ()):
        rows.append(content(path.encode(), offset, count))
    # As few writes as can be: sshd keeps a small one back until the last was acknowledged.
    size = 1 + (len(rows) if 'read' in message else ROWS_A_LINE)
    for at in range(0, max(1, len(rows)), size):
        say({'answer': message['ask'], 'rows': rows[at:at + size], 'done': at + size >= len(rows)})


class Job(object):
    __slots__ = ('base', 'deep_at', 'attempt', 'exit_path', 'metrics_path', 'notes_path', 'checkpoints_path',
                 'owner_path', 'present', 'started', 'exit', 'metrics', 'notes', 'checkpoints', 'entries', 'quiet_at')

    def __init__(self, directory, number, deep_at):
        self.base = base = directory.encode() + b'/'
        self.deep_at = deep_at
        self.attempt = base + b'${ATTEMPTS_DIRECTORY}/%d' % number
        self.exit_path = self.attempt + b'/${EXIT_RECORD_FILE}'
        self.metrics_path, self.notes_path = base + b'${METRICS_FILE}', base + b'${EVENTS_FILE}'
        self.checkpoints_path = base + b'${CHECKPOINTS_DIRECTORY}'
        self.owner_path = self.attempt + b'/${START_GUARD_DIRECTORY}/${OWNER_FILE}'
        self.present, self.started, self.entries, self.quiet_at = False, False, [], None
        self.exit = self.metrics = self.notes = self.checkpoints = None

    def look(self, now, deep_every):
        deep = now >= self.deep_at
        if deep:
            self.deep_at = now + deep_every
            for path in (self.base, self.attempt) if self.present else (self.base + b'${ATTEMPTS_DIRECTORY}',):
                revalidate(path)
            if self.metrics:
                revalidate(self.metrics_path)
        if not self.present:
            self.present = stamp(self.attempt) is not None
            if not self.present:
                return []
        what = []
        if not self.started and stamp(self.owner_path):
            self.started = True
            what.append('started')
        seen = stamp(self.exit_path)
        if seen != self.exit:
            self.exit = seen
            if seen:
                what.append('exit')
        seen = stamp(self.metrics_path)
        if seen != self.metrics:
            self.metrics = seen
            what.append('metrics')
        seen = stamp(self.notes_path)
        if seen != self.notes:
            self.notes = seen
            what.append('notes')
        seen = stamp(self.checkpoints_path)
        if deep or seen != self.checkpoints:
            self.checkpoints = seen
            listing = entries(self.checkpoints_path, 2, MOST_ENTRIES)
            if listing != self.entries:
                self.entries, self.quiet_at = listing, now + QUIET
                what.append('checkpoints')
            elif self.quiet_at and now > self.quiet_at:
                # Only one that is left alone for a while is whole.
                self.quiet_at = None
                what.append('checkpoints')
        return what


class Watch(object):
    def __init__(self):
        self.jobs, self.left, self.round, self.begun, self.round_seconds = {}, [], 0, 0.0, 0.0

    def obey(self, message, now):
        added = message.get('add', ())
        for key, directory, number in added:
            self.jobs[key] = Job(directory, number, now + DEEP_EVERY * (key % 16) / 16)
            self.left.append(key)
        for key in message.get('remove', ()):
            self.jobs.pop(key, None)
        return bool(added)

    # Looks at some jobs; answers when to look at the next ones.
    def look(self):
        wall, cpu, counted = time.monotonic(), time.process_time(), stats
        if not self.left:
            self.round, self.round_seconds, self.begun = self.round + 1, wall - self.begun if self.round else 0.0, wall
            self.left = list(self.jobs)
        # It costs as much as two plain looks, so not each time where these take long.
        changed, now, deep_every = [], wall, max(DEEP_EVERY, 4 * self.round_seconds)
        while self.left and now - wall < SLICE:
            job = self.jobs.get(self.left[-1])
            what = job.look(now, deep_every) if job else None
            if what:
                changed.append([self.left[-1], what])
            self.left.pop()
            now = time.monotonic()
        for at in range(0, len(changed), JOBS_A_LINE):
            say({'changed': changed[at:at + JOBS_A_LINE]})
        next_at = wall + max((time.process_time() - cpu) / CPU_SHARE, (now - wall) / TIME_SHARE, (stats - counted) / float(MOST_STATS))
        return next_at if self.left else max(next_at, self.begun + LEAST_ROUND)

    def beat(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        say({'beat': {'jobs': len(self.jobs), 'stats': stats, 'rounds': self.round, 'roundSeconds': round(self.round_seconds, 2),
                      'cpuSeconds': round(used.ru_utime + used.ru_stime, 2), 'maxRssKiB': used.ru_maxrss}})


def run():
    watch, text, now = Watch(), b'', time.monotonic()
    look_at = beat_at = now
    while True:
        if select.select([0], [], [], max(0.0, min(look_at, beat_at) - now))[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            signal.alarm(LEASE)
            lines = (text + data).split(b'\n')
            text = lines.pop()
            if len(text) > MOST_LINE:
                raise ValueError('a line is too long')
            for line in lines:
                message = json.loads(line.decode())
                if 'ask' in message:
                    answer(message)
                elif watch.obey(message, now):
                    # What is new may have begun already.
                    look_at = now
        now = time.monotonic()
        if now >= look_at:
            look_at = watch.look()
            now = time.monotonic()
        if now >= beat_at:
            watch.beat()
            beat_at = now + BEAT


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.alarm(LEASE)
try:
    os.nice(10)
except OSError:
    pass
try:
    say({'hello': '%d.%d.%d' % sys.version_info[:3]})
    run()
except Exception as error:
    say({'fault': '%s: %s' % (type(error).__name__, error)})
    sys.exit(1)
`;

/** -I and -S: neither the account's Python settings nor files beside it have a say, and it starts faster. */
export const WATCH_COMMAND = ['python3', '-I', '-S', '-u', '-c', WATCH_PROGRAM];
