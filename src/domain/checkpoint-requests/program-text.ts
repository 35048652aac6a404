/**
 * What runs on the cluster for requests on checkpoints, as a bash program: it needs find, tar, sha256sum and zstd or gzip, nothing of ours.
 *
 * Killed at any moment it loses nothing, and run again (or twice at once) it goes on where it was:
 *
 *   .expgraph-ID.RUN.new   being written or unpacked; of no worth until it was verified and renamed
 *   .expgraph-ID.old       a folder that the original is moved into; what lies in it is moved back
 *   .expgraph-ID.gone      the same once nothing of it is needed any more; it is removed
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
  rm -rf -- "$new" "$new".*
  report failed "$(printf '%s' "$1" | tr '\000-\037\177' ' ' | cut -c1-400)"
  exit 1
}
there() { [[ -e $1 || -L $1 ]]; }
# An old sync knows no files and says nothing: it writes out everything. What cannot be written must not take the place of what is there.
flush() {
  local words
  words=$(sync -- "$1" 2>&1) || { [[ ! -d $old ]] || rmdir -- "$old"; fail "it could not be written to disk: \${words:-no reason was given}"; }
}
# Names in the folder we are in; not every file system can do that for one folder.
flush_names() { sync -- . 2>/dev/null || sync; }

# All three with links resolved: the folder in the job directory, and that in the root directory.
enter() {
  local root job
  cd -P -- "$ROOT" 2>/dev/null && root=$(pwd -P) || fail "the root directory $ROOT cannot be entered"
  cd -P -- "$1" 2>/dev/null && job=$(pwd -P) || fail "the job directory $1 cannot be entered"
  [[ $job == "$root"/* ]] || fail "the job directory $1 leads out of the root directory"
  cd -P -- "$job/$2" 2>/dev/null || fail "the folder $2 of the job directory cannot be entered"
  [[ $(pwd -P) == "$job" || $(pwd -P) == "$job"/* ]] || fail "the folder $2 leads out of the job directory"
}

put_back() {
  local member
  for member in "\${members[@]}"; do there "$old/$member" && mv -n -T -- "$old/$member" "./$member"; done
  rmdir -- "$old" 2>/dev/null
}

# What an earlier run left when it was killed.
tidy() {
  local left member
  if there "$gone"; then chmod -R u+rwX -- "$gone" 2>/dev/null; rm -rf -- "$gone"; fi
  if [[ -d $old && ! -L $old ]]; then
    put_back
    for member in "\${members[@]}"; do
      if there "$old/$member"; then fail "$member was on its way out when an earlier run ended, and cannot be put back: it lies in \${old#./}"; fi
    done
  fi
  for left in ./.expgraph-"$id".*.new*; do rm -rf -- "$left"; done
}

# Whoever else is at work in this folder is let finish. Not every shared file system has such locks: nothing is lost without, but work may be done twice.
take_turn() {
  command -v flock >/dev/null && { exec 9>> ./.expgraph-lock; } 2>/dev/null || return 0
  flock -w 300 -E 75 9 2>/dev/null
  [[ $? -ne 75 ]] || exit 75
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

# Whether it is still what it was when somebody asked. What an earlier run had begun with is whole again by now, or gone.
as_recorded() {
  local kind size at part count=0 bytes=0 newest=0
  while read -r kind size at; do
    if [[ $kind == f ]]; then count=$((count + 1)) bytes=$((bytes + size)); fi
    if [[ $at == -* ]]; then at=0.0; fi
    part=\${at#*.}000
    at=$((10#\${at%%.*} * 1000 + 10#\${part:0:3}))
    if [[ $at -gt $newest ]]; then newest=$at; fi
  done < <(find "\${paths[@]}" -maxdepth "$depth" -printf '%y %s %T@\n')
  [[ $count -eq $recorded_count && $bytes -eq $recorded_bytes && $newest -eq $recorded_newest ]] || fail 'it has changed since it was asked for'
}

# Whatever changes when somebody writes; the same in whichever folder the members lie.
stamp() {
  (cd -- "$1" && find "\${paths[@]}" \( -type d -printf '%p d\0' -o -printf '%p %y %s %T@ %i %l\0' \) | sort -z | sha256sum)
}

unpack() { case $1 in *.zst) zstd -q -d -c -- "$1" ;; *) gzip -d -c -- "$1" ;; esac; }

# Whether the archive $1 holds the members as they lie in the folder $2, byte for byte, and no more.
matches() {
  local packed kept
  if [[ -z $tar ]]; then
    packed=$(unpack "$1" | sha256sum) && kept=$(sha256sum < "$2/$name") || return 1
    digest=\${kept%% *}
    [[ $packed == "$kept" ]]
  else
    packed=$(unpack "$1" | tar -d -v -f - -C "$2" 2>/dev/null | wc -l) || return 1
    kept=$(cd -- "$2" && find "\${paths[@]}" -printf x | wc -c) || return 1
    [[ $packed -eq $kept ]]
  fi
}

# Moves the members out of the way and removes them, if they are still what the stamp $1 says, and the archive $2, if there is to be one, is in its place.
take_away() {
  mkdir -p -- "$old" || return 1
  mv -t "$old" -- "\${paths[@]}" && [[ $(stamp "$old") == "$1" ]] || { put_back; return 1; }
  [[ -z $2 || -s $2 ]] && mv -T -- "$old" "$gone" || { put_back; return 1; }
  chmod -R u+rwX -- "$gone" 2>/dev/null
  rm -rf -- "$gone"
  flush_names
}

find_archive() {
  local suffix
  found=
  for suffix in .zst .gz; do [[ -f ./$name$tar$suffix && ! -L ./$name$tar$suffix ]] && found=$suffix; done
}

pack() {
  local packer source=("\${paths[0]}")
  if command -v zstd >/dev/null; then packer=(zstd -q -c -T"$THREADS"); found=.zst; else packer=(gzip -c); found=.gz; fi
  command -v "\${packer[0]}" >/dev/null || fail 'neither zstd nor gzip is there'
  mkdir -p -- "$old" || fail "$(pwd -P) takes no new folder"
  local words
  if [[ -z $tar ]]; then words=$( { "\${packer[@]}" < "\${source[0]}" > "$new$found"; } 2>&1 )
  else words=$( { tar -c --format=posix --pax-option=delete=atime,delete=ctime -f - -- "\${paths[@]}" | "\${packer[@]}" > "$new$found"; } 2>&1 )
  fi || { rmdir -- "$old"; fail "it could not be compressed: \${words:-no reason was given}"; }
  chmod -- "$(printf '%o' $((0$(stat -c %a -- "\${source[0]}") & 0666)))" "$new$found"
  touch -r "\${source[0]}" -- "$new$found"
  flush "$new$found"
  matches "$new$found" . || { rmdir -- "$old"; fail 'what was read back from the archive is not the same as the original, which was left as it is'; }
  # Of what is there already mv -n says nothing, or that it failed, and leaves both.
  mv -n -T -- "$new$found" "./$name$tar$found" 2>/dev/null && ! there "$new$found" || { rmdir -- "$old"; fail "the archive cannot be called $name$tar$found"; }
  flush_names
}

archived() { report archived "$tar$found" "$(stat -c %s -- "./$name$tar$found")" "\${digest:--}"; }

do_archive() {
  local before
  count_members
  find_archive
  if [[ $present -eq 0 ]]; then
    if [[ -n $found ]]; then archived; else report gone; fi
    return
  fi
  not_given_up
  inspect
  [[ -z $(find "\${paths[@]}" -type f -links +1 -printf x -quit) ]] || fail 'a file of it has another name, too (a hard link): archiving it would free nothing'
  # What is written after the stamp is noticed when it is compared, what was written before it by this.
  before=$(stamp .)
  as_recorded
  if [[ -z $found ]]; then pack
  else matches "./$name$tar$found" . || fail "$name$tar$found is there already, and holds something else"
  fi
  take_away "$before" "./$name$tar$found" || fail "it changed while it was archived, and was left as it is; $name$tar$found holds what it was"
  archived
}

do_delete() {
  local before
  count_members
  if [[ $present -gt 0 ]]; then
    not_given_up
    before=$(stamp .)
    as_recorded
    take_away "$before" '' || fail 'it could not be moved out of the way, and was left as it is'
  fi
  report deleted
}

do_restore() {
  local words member archive=./$name$tar$suffix
  if [[ -z $suffix || ! -f $archive || -L $archive ]]; then
    there "./$name" || there "./$name.index" || fail 'neither its archive nor what that held is in its folder'
    report restored
    return
  fi
  not_given_up
  mkdir -- "$new" || fail "$(pwd -P) takes no new folder"
  if [[ -z $tar ]]; then words=$( { unpack "$archive" > "$new/$name" && touch -r "$archive" -- "$new/$name" && chmod --reference="$archive" -- "$new/$name"; } 2>&1 )
  else words=$( { unpack "$archive" | tar -x -p -f - -C "$new"; } 2>&1 )
  fi || fail "it could not be unpacked: \${words:-no reason was given}"
  members=()
  for member in "$new"/*; do members+=("\${member##*/}"); done
  paths=("\${members[@]/#/./}")
  matches "$archive" "$new" || fail 'what was unpacked is not what the archive holds'
  words=$(find "$new" -type f -exec sync -- {} + 2>&1) || fail "it could not be written to disk: \${words:-no reason was given}"
  for member in "\${members[@]}"; do there "./$member" || mv -n -T -- "$new/$member" "./$member"; done
  matches "$archive" . || fail "$name is there already, and is something else than what the archive holds"
  flush_names
  rm -f -- "$archive"
  chmod -R u+rwX -- "$new" 2>/dev/null
  rm -rf -- "$new"
  report restored
}

do_digest() {
  local before
  count_members
  if [[ $present -eq 0 ]]; then report gone; return; fi
  not_given_up
  inspect
  before=$(stamp .)
  as_recorded
  if [[ -f ./$name && \${#members[@]} -eq 1 ]]; then digest=$(sha256sum < "./$name") || fail 'it cannot be read'
  else
    [[ \${#members[@]} -gt 1 ]] || { cd -- "./$name"; paths=(.); }
    digest=$(find "\${paths[@]}" -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum) || fail 'it cannot be read'
    [[ \${#members[@]} -gt 1 ]] || { cd ..; paths=("./$name"); }
  fi
  [[ $(stamp .) == "$before" ]] || fail 'it changed while it was read'
  report digest "\${digest%% *}"
}

not_given_up() { [[ -z $give_up ]] || fail "$give_up"; }

stop() {
  if [[ -d $old && ! -L $old ]]; then put_back; fi
  rm -rf -- "$new" "$new".*
  exit 143
}

# item VERB ID JOB_DIRECTORY FOLDER NAME TAR SUFFIX GIVE_UP_REASON FILES BYTES NEWEST_MS DEPTH MEMBER...
item() {
  [[ $SECONDS -lt $LIMIT_SECONDS ]] || return 0
  (
    verb=$1 id=$2 job=$3 folder=$4 name=$5 tar=$6 suffix=$7 give_up=$8
    recorded_count=$9 recorded_bytes=\${10} recorded_newest=\${11} depth=\${12}
    shift 12
    members=("$@") paths=("\${@/#/./}") digest= found= present=0
    new=./.expgraph-$id.$RUN.new old=./.expgraph-$id.old gone=./.expgraph-$id.gone
    trap stop TERM INT HUP
    enter "$job" "$folder"
    take_turn
    report begin
    tidy
    "do_$verb"
  )
}
`.replaceAll('\\${', '${');
