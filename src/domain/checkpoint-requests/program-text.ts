import { VERBS } from './program-verbs.ts';

/**
 * What runs on the cluster for requests on checkpoints, as a bash program: it needs find, tar, sha256sum and zstd or gzip, nothing of ours.
 *
 * Killed at any moment it loses nothing, and run again (or twice at once) it goes on where it was:
 *
 *   .expgraph-ID.RUN.new     being written or unpacked; of no worth until it was verified and renamed
 *   .expgraph-ID.old         a folder that the original is moved into; what lies in it is moved back
 *   .expgraph-ID.RUN.N.out   nothing of it is needed any more; it is removed
 *
 * An archive gets its final name only after it was read back and compared with the original, and no archive is ever removed unless what it
 * holds was unpacked and compared. Each step is told on standard output as a line of words with tabs between them.
 */
export const PROGRAM = String.raw`
set -u -o pipefail
shopt -s dotglob nullglob
umask 077
export LC_ALL=C
unset CDPATH TAR_OPTIONS GZIP ZSTD_CLEVEL ZSTD_NBTHREADS
renice -n 19 $$ >/dev/null 2>&1
ionice -c 3 -p $$ >/dev/null 2>&1

report() { local kind=$1; shift; printf '%s\t%s' "$kind" "$id"; [ $# -eq 0 ] || printf '\t%s' "$@"; printf '\n'; }
fail() {
  throw_out "$new" "$new".*
  rmdir -- "$old" 2>/dev/null
  report failed "$(printf '%s' "$1" | tr '\000-\037\177' ' ' | cut -c1-400)"
  exit 1
}
there() { [[ -e $1 || -L $1 ]]; }
# Removed under another name: where there are no locks, whoever is still at it could else move away what is half removed by then. What stays for all that is named in left.
throw_out() {
  local each out failed=0
  left=
  for each; do
    there "$each" || continue
    out=./.expgraph-$id.$RUN.$((thrown += 1)).out
    mv -n -T -- "$each" "$out" 2>/dev/null && ! there "$each" || { failed=1; continue; }
    # Files may have other names elsewhere: only folders are made writable.
    find "$out" -type d ! -perm -700 -exec chmod u+rwx -- {} \;
    rm -rf --one-file-system -- "$out"
    ! there "$out" || failed=1 left=\${out#./}
  done
  return $failed
}
all_removed() { [[ -z $left ]] || fail "it is out of its place, but not all of it could be removed: the rest lies in $left"; }
# An old sync knows no files and says nothing: it writes out everything. What cannot be written must not take the place of what is there.
flush() {
  local words
  words=$(sync -- "$@" 2>&1) || fail "it could not be written to disk: \${words:-no reason was given}"
}
# Names in the folder we are in; not every file system can do that for one folder.
flush_names() {
  local words
  words=$(sync -- . 2>&1) && return
  case $words in
    *'Invalid argument'* | *'not supported'* | *'not permitted'* | *'not implemented'* | *'Permission denied'*) sync ;;
    *) fail "the names in its folder could not be written to disk: $words" ;;
  esac
}

# All three with links resolved: the folder in the job directory, and that in the root directory.
enter() {
  local root job
  cd -P -- "$ROOT" 2>/dev/null && root=$(pwd -P) || fail "the root directory $ROOT cannot be entered"
  cd -P -- "$1" 2>/dev/null && job=$(pwd -P) || fail "the job directory $1 cannot be entered"
  [[ $job == "$root"/* ]] || fail "the job directory $1 leads out of the root directory"
  cd -P -- "$job/$2" 2>/dev/null || fail "the folder $2 of the job directory cannot be entered"
  [[ $(pwd -P) == "$job" || $(pwd -P) == "$job"/* ]] || fail "the folder $2 leads out of the job directory"
}

# Fails where something else has taken the place of what is to come back: then both stay.
put_back() {
  local each
  [[ -d $old && ! -L $old ]] || return 0
  for each in "$old"/*; do there "./\${each##*/}" || mv -n -T -- "$each" "./\${each##*/}"; done
  rmdir -- "$old" 2>/dev/null || ! there "$old"
}

# What an earlier run left when it was killed.
tidy() {
  put_back || fail "it was on its way out when an earlier run ended, and cannot be put back, as there is something else of its name: it lies in \${old#./}"
  throw_out ./.expgraph-"$id".*.new* ./.expgraph-"$id".*.out
}

# Whoever else is at work in this folder is let finish. Not every shared file system has such locks: nothing is lost without, but work may be done twice.
take_turn() {
  if [[ $busy != *"|$job/$folder|"* ]]; then
    command -v flock >/dev/null && { exec 9>> ./.expgraph-lock; } 2>/dev/null || return 0
    flock -w $((LIMIT_SECONDS > 600 ? LIMIT_SECONDS / 20 : 30)) -E 75 9 2>/dev/null
    [[ $? -eq 75 ]] || return 0
  fi
  report busy
  exit 75
}

count_members() {
  local member
  present=0
  for member in "\${members[@]}"; do
    [[ ! -L ./$member ]] || fail "$member is a link: what it leads to is not touched"
    if there "./$member"; then present=$((present + 1)); fi
  done
}

inspect() {
  [[ $present -eq \${#members[@]} ]] || fail 'some of its files are missing'
  [[ -z $(find "\${paths[@]}" ! -type f ! -type d ! -type l -printf x -quit) ]] || fail 'it holds something that is neither file, folder nor link'
}

# Whoever made a folder read-only may have meant it; and nobody but root can move such a folder into another one.
writable() {
  local member
  for member in "\${members[@]}"; do [[ ! -d ./$member || -w ./$member ]] || fail "the folder $member is read-only: make it writable (chmod u+w) if it is to be taken away"; done
}

# Of a time as find tells it, in seconds: into the variable at.
to_milliseconds() {
  local part
  if [[ $at == -* ]]; then at=0.0; fi
  part=\${at#*.}000
  at=$((10#\${at%%.*} * 1000 + 10#\${part:0:3}))
}

# Whether it is still what it was when somebody asked. What an earlier run had begun with is whole again by now, or gone.
as_recorded() {
  local kind size at device here count=0 bytes=0 newest=0
  here=$(stat -c %d .)
  while read -r kind size at device; do
    # Some file systems that lie over others tell of each file where it really lies.
    [[ $kind != d || $device == "$here" ]] || fail 'another file system is mounted in it'
    if [[ $kind == f ]]; then count=$((count + 1)) bytes=$((bytes + size)); fi
    to_milliseconds
    if [[ $at -gt $newest ]]; then newest=$at; fi
  done < <(find "\${paths[@]}" -maxdepth "$depth" -printf '%y %s %T@ %D\n')
  [[ $count -eq $recorded_count && $bytes -eq $recorded_bytes && $newest -eq $recorded_newest ]] || fail 'it has changed since it was asked for'
}

# Whatever changes when somebody writes; the same in whichever folder the members lie.
stamp() {
  (cd -- "$1" && find "\${paths[@]}" \( -type d -printf '%p d\0' -o -printf '%p %y %s %T@ %i %l\0' \) | sort -z | sha256sum)
}
# What is written after the stamp is noticed when it is compared, what was written before it by the second.
note() {
  before=$(stamp .) || fail 'not all of it can be looked at'
  as_recorded
}

unpack() { case $1 in *.zst) zstd -q -d -c -- "$1" ;; *) gzip -d -c -- "$1" ;; esac; }

# Reads what tar tells when it compares: each name in quotes, and what differs. Owners and modes cannot always be given back, content can.
same() {
  local line count=0
  while IFS= read -r line; do
    case $line in
      *'"') count=$((count + 1)) ;;
      *'": Uid differs' | *'": Gid differs' | *'": Mode differs') ;;
      *) return 1 ;;
    esac
  done
  [[ $count -eq $1 ]]
}

# Whether the archive $1 holds the members as they lie in the folder $2, byte for byte, and no more.
matches() {
  local packed kept
  if [[ -z $tar ]]; then
    packed=$(unpack "$1" | sha256sum) && kept=$(sha256sum < "$2/$name") || return 1
    digest=\${kept%% *}
    [[ $packed == "$kept" ]]
  else
    kept=$(cd -- "$2" && find "\${paths[@]}" -printf x | wc -c) || return 1
    unpack "$1" | { tar -d -v --quoting-style=c -f - -C "$2" 2>&1; [[ $? -le 1 ]]; } | same "$kept"
  fi
}

# Moves the members out of the way and removes them, if they are still what the stamp $before says, and the archive $1, if there is to be one, is in its place.
take_away() {
  local kept='was left as it is'
  if mkdir -p -- "$old" && mv -t "$old" -- "\${paths[@]}" && [[ $(stamp "$old") == "$before" ]] && [[ -z $1 || -s $1 ]] && throw_out "$old"; then
    sync -- . >/dev/null 2>&1
    return
  fi
  # Its archive is in its place by now: the next run tries again to remove the rest, and tells of the archive.
  if [[ -n $left && -n $1 ]]; then exit 1; fi
  all_removed
  put_back || kept="lies in \${old#./}, as there is something else in its place by now"
  fail "it changed or could not be moved while it was to be taken away, and $kept\${1:+; \${1#./} holds what it was}"
}
${VERBS}
not_given_up() { [[ -z $give_up ]] || fail "$give_up\${found:+; $name$tar$found is there, too}"; }

stop() {
  put_back
  throw_out "$new" "$new".*
  exit 143
}

# item VERB ID JOB_DIRECTORY FOLDER NAME TAR SUFFIX GIVE_UP_REASON EARLIER_ARCHIVES FILES BYTES NEWEST_MS DEPTH MEMBER...
item() {
  [[ $SECONDS -lt $LIMIT_SECONDS && ( -z $OVER || ! -e $OVER ) ]] || return 0
  (
    verb=$1 id=$2 job=$3 folder=$4 name=$5 tar=$6 suffix=$7 give_up=$8 earlier=$9
    recorded_count=\${10} recorded_bytes=\${11} recorded_newest=\${12} depth=\${13}
    shift 13
    members=("$@") paths=("\${@/#/./}") digest= found= before= left= present=0 thrown=0 taken=0
    new=./.expgraph-$id.$RUN.new old=./.expgraph-$id.old
    trap stop TERM INT HUP
    enter "$job" "$folder"
    take_turn
    report begin
    tidy
    "do_$verb"
  )
  if [[ $? -eq 75 ]]; then busy+="|$3/$4|"; fi
}
busy=
`.replaceAll('\\${', '${');
