/**
 * The part of a batch script that is the same for every task. It runs after the task's `expgraph_*` variables are set.
 *
 * The shell stays as the supervisor of the command, because only it can still write the exit record when the command
 * has died. Nothing here depends on the caller's environment, and `set -e` is of no use: each failure is named.
 */
import { REFUSED_EXIT_CODE } from '../start-guard.ts';

export const SUPERVISE = `
expgraph_now() {
  local at IFS=.,
  read -r -a at <<< "\${EPOCHREALTIME:--1.000}"
  TZ=UTC0 printf -v expgraph_time '%(%Y-%m-%dT%H:%M:%S)T.%.3sZ' "\${at[0]}" "\${at[1]}"
}

# Ends a line that an earlier run left unfinished, so that the next line stands alone.
expgraph_end_line() {
  if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then printf '\\n' >> "$1"; fi
}

expgraph_event() {
  expgraph_now
  expgraph_end_line "$expgraph_job_dir/events.jsonl"
  printf '{"event":"%s","time":"%s","attempt":%d,"restart":%d,"host":"%s","slurmJobId":%s%s}\\n' "$1" "$expgraph_time" \\
    "$expgraph_attempt" "$expgraph_restart" "$expgraph_host" "$expgraph_slurm_json" "$2" >> "$expgraph_job_dir/events.jsonl"
}

# Writes what is known of the end, the exit record last: whoever sees it finds everything else in place. $1: exit code.
expgraph_finish() {
  local signal=null
  if [ "$1" -gt 128 ] && [ "$1" -le 192 ]; then signal=$(($1 - 128)); fi
  if [ "$1" -ne 0 ] && [ ! -s "$expgraph_job_dir/error.txt" ]; then
    {
      if [ "$signal" = null ]; then printf 'The command ended with exit code %d.\\n' "$1"; else printf 'The command was ended by signal %d.\\n' "$signal"; fi
      tail -n 50 "$expgraph_log.err" 2>/dev/null | tail -c 16384
    } > "$expgraph_job_dir/error.txt"
  fi
  # A last line without its newline is a line now, and is read as one.
  expgraph_end_line "$expgraph_job_dir/metrics.jsonl"
  expgraph_event finished ",\\"exitCode\\":$1,\\"signal\\":$signal"
  printf '{"attempt":%d,"exitCode":%d,"signal":%s,"terminated":%s,"warned":%s,"startedAt":"%s","finishedAt":"%s","host":"%s","slurmJobId":%s,"restart":%d}\\n' \\
    "$expgraph_attempt" "$1" "$signal" "$expgraph_terminated" "$expgraph_warned" "$expgraph_started" "$expgraph_time" "$expgraph_host" "$expgraph_slurm_json" \\
    "$expgraph_restart" > "$expgraph_attempt_dir/exit.json.tmp" && mv -f "$expgraph_attempt_dir/exit.json.tmp" "$expgraph_attempt_dir/exit.json"
}

expgraph_fail() {
  printf 'expgraph: %s\\n' "$1" >&2
  printf '%s\\n' "$1" > "$expgraph_job_dir/error.txt"
  trap - EXIT
  expgraph_finish 1
  exit 1
}

# The setup script called exit. $1: its exit code; the command did not run, so that 0 is no success.
expgraph_setup_ended() {
  trap - EXIT
  if [ "$1" -eq 0 ]; then expgraph_fail 'the setup script ended with "exit 0" before the command'; fi
  expgraph_finish "$1"
  exit "$1"
}

# $1: who holds the start guard in our place. Nothing is run, and nothing of the job is touched but a record of our own.
expgraph_refuse() {
  printf 'expgraph: attempt %s of job %s was started by another execution (%s): not run a second time\\n' "$expgraph_attempt" "$EXPGRAPH_JOB_ID" "$1" >&2
  expgraph_now
  mkdir -p "$expgraph_attempt_dir"
  printf '{"attempt":%d,"restart":%d,"owner":"%s","time":"%s","host":"%s","slurmJobId":%s}\\n' "$expgraph_attempt" "$expgraph_restart" "$1" "$expgraph_time" \\
    "$expgraph_host" "$expgraph_slurm_json" > "$expgraph_attempt_dir/refused.$$.tmp" \\
    && mv -f "$expgraph_attempt_dir/refused.$$.tmp" "$expgraph_attempt_dir/refused-\${expgraph_slurm_id:-$$}.json"
  exit ${REFUSED_EXIT_CODE}
}

expgraph_enter() {
  cd -- "$expgraph_working_dir" || expgraph_fail "cannot enter the working directory $expgraph_working_dir on $expgraph_host"
}

# SLURM ends a job by sending TERM to each of its processes, so passing TERM on would send it twice.
expgraph_signal() {
  if [ "$1" = TERM ]; then expgraph_terminated=true; fi
  if [ "$1" = "$expgraph_warning" ]; then expgraph_warned=true; fi
  if [ -z "$expgraph_child" ]; then expgraph_pending=$1
  elif [ "$1" != TERM ] || [ "$expgraph_pass_term" = 1 ]; then kill -s "$1" "$expgraph_child" 2>/dev/null
  fi
}

# A background child ignores INT, so it is sent TERM in its place.
expgraph_trap_signals() {
  trap 'expgraph_signal TERM' TERM INT
  trap 'expgraph_signal HUP' HUP
  trap 'expgraph_signal USR1' USR1
  trap 'expgraph_signal USR2' USR2
}

export PATH="\${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
if [ -z "$HOME" ]; then unset HOME; HOME=~; export HOME; fi
expgraph_host=\${SLURMD_NODENAME:-$HOSTNAME}
expgraph_restart=\${SLURM_RESTART_COUNT:-0}
# Each run after a requeue is an attempt of its own: the numbers go on from the one that was submitted.
expgraph_first_attempt=$expgraph_attempt
expgraph_attempt=$((expgraph_attempt + expgraph_restart))
if [ -n "$expgraph_slurm_id" ]; then
  expgraph_owner="slurm $expgraph_slurm_id"
  expgraph_slurm_json="\\"$expgraph_slurm_id\\""
  expgraph_log=$expgraph_batch_dir/$expgraph_slurm_id
else
  expgraph_owner="pid $$"
  expgraph_slurm_json=null
  expgraph_log=$expgraph_batch_dir/task-$expgraph_task
  expgraph_pass_term=1
fi
expgraph_attempt_dir=$expgraph_job_dir/attempts/$expgraph_attempt
expgraph_guard=$expgraph_attempt_dir/started
expgraph_working_dir=\${expgraph_working_dir:-$expgraph_job_dir}
expgraph_child=
expgraph_pending=
expgraph_terminated=false
expgraph_warned=false
expgraph_now
expgraph_started=$expgraph_time
expgraph_trap_signals

# A run after a requeue gives way when another execution has taken over since, be it a retry or a second submission.
for ((expgraph_number = expgraph_first_attempt; expgraph_number < expgraph_attempt; expgraph_number += 1)); do
  if read -r expgraph_holder 2>/dev/null < "$expgraph_job_dir/attempts/$expgraph_number/started/owner" && [ "$expgraph_holder" != "$expgraph_owner" ]; then
    expgraph_refuse "$expgraph_holder"
  fi
done
# The guard: of all executions of this attempt, the one whose folder gets its name runs it. It names its owner from the first moment.
# Few processes until then: on a busy node each takes its time, and only then the start shows.
expgraph_claim=$expgraph_guard.$expgraph_slurm_id.$$
if ! { mkdir -p "$expgraph_claim" && printf '%s\\nbatch %s\\n' "$expgraph_owner" "\${expgraph_batch_dir##*/}" > "$expgraph_claim/owner" \\
  && mv -T "$expgraph_claim" "$expgraph_guard"; } 2>/dev/null; then
  rm -rf "$expgraph_claim"
  [ -d "$expgraph_guard" ] || expgraph_fail "cannot make $expgraph_guard on $expgraph_host"
  expgraph_holder=
  for expgraph_try in 1 2 3 4 5; do
    if read -r expgraph_holder 2>/dev/null < "$expgraph_guard/owner"; then break; fi
    sleep 1
  done
  if [ "$expgraph_holder" != "$expgraph_owner" ]; then expgraph_refuse "\${expgraph_holder:-unknown}"; fi
fi
expgraph_event started ''

if ! mkdir -p "$expgraph_job_dir/checkpoints" "$expgraph_job_dir/artifacts" "$expgraph_job_dir/logs"; then
  expgraph_fail "cannot make the job directory $expgraph_job_dir on $expgraph_host"
fi
# What an earlier run left must not be taken for this one's.
for expgraph_file in "$expgraph_job_dir/error.txt" "$expgraph_job_dir/result.json" "$expgraph_attempt_dir/exit.json"; do
  if [ -e "$expgraph_file" ]; then mv -f "$expgraph_file" "$expgraph_guard/previous-\${expgraph_file##*/}"; fi
done
expgraph_end_line "$expgraph_job_dir/metrics.jsonl"
ln -sfn "$expgraph_log.out" "$expgraph_job_dir/logs/attempt-$expgraph_attempt.out"
ln -sfn "$expgraph_log.err" "$expgraph_job_dir/logs/attempt-$expgraph_attempt.err"
if ! printf '%s\\n' "$expgraph_config" > "$expgraph_job_dir/config.json.tmp" || ! mv -f "$expgraph_job_dir/config.json.tmp" "$expgraph_job_dir/config.json"; then
  expgraph_fail "cannot write $expgraph_job_dir/config.json on $expgraph_host"
fi

# The script holds the checkpoint that there was when it was submitted; of a restart the server has noted a later one, if it was there in time.
if [ "$expgraph_restart" -gt 0 ]; then
  expgraph_resume=$(cat "$expgraph_attempt_dir/resume" 2>/dev/null)
  if [ -n "$expgraph_resume" ] && [ -e "$expgraph_resume" ]; then export EXPGRAPH_RESUME_CHECKPOINT="$expgraph_resume"; fi
fi
export EXPGRAPH_JOB_DIR="$expgraph_job_dir" EXPGRAPH_ATTEMPT="$expgraph_attempt"
export EXPGRAPH_CONFIG="$expgraph_job_dir/config.json" EXPGRAPH_METRICS="$expgraph_job_dir/metrics.jsonl"
export EXPGRAPH_CHECKPOINTS_DIR="$expgraph_job_dir/checkpoints" EXPGRAPH_ARTIFACTS_DIR="$expgraph_job_dir/artifacts"
expgraph_enter
if [ -n "$expgraph_setup" ]; then
  trap 'expgraph_setup_ended $?' EXIT
  eval "$expgraph_setup"
  set +eu
  if [[ $(trap -p EXIT) == *expgraph_setup_ended* ]]; then trap - EXIT; fi
  expgraph_trap_signals
  expgraph_enter
fi

if [ -z "$expgraph_pending" ]; then
  # A pipe of which the command holds the one end: when it ends, there is nothing more to read.
  exec {expgraph_held}<> <(:)
  exec {expgraph_end}< "/dev/fd/$expgraph_held"
  # By env, because bash changes or refuses some variables (GROUPS, RANDOM, UID) when it sets them itself.
  env "\${expgraph_variables[@]}" "\${expgraph_command[@]}" &
  expgraph_child=$!
  exec {expgraph_held}>&-
  if [ -n "$expgraph_pending" ]; then kill -s "$expgraph_pending" "$expgraph_child" 2>/dev/null; fi
  # bash loses the code of a command that ends in the moment in which a trapped signal interrupts the wait for it. So we look
  # whether it is still there, sleeping on the pipe, and wait only once it has ended. One that leaves its end of the pipe to others is
  # looked for now and then; after one that has closed it, the pipe says nothing any more, and another one stays silent.
  exec {expgraph_silence}<> <(:)
  expgraph_pause=0.01
  while kill -0 "$expgraph_child" 2>/dev/null; do
    read -r -t 0.2 -u "$expgraph_end"
    if [ $? -le 128 ]; then
      read -r -t "$expgraph_pause" -u "$expgraph_silence"
      expgraph_pause=0.2
    fi
  done
  wait "$expgraph_child"
  expgraph_code=$?
else
  expgraph_code=143
fi
# On the local executor this shell leads a process group of its own: what the command left behind ends with it, as under SLURM.
if [ -n "$EXPGRAPH_TASK_INDEX" ] && [ -z "$expgraph_slurm_id" ]; then trap '' TERM; kill -s TERM 0; fi
expgraph_finish "$expgraph_code"
exit "$expgraph_code"
`;
