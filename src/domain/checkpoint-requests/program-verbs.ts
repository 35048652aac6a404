/** What the program on the cluster does with each checkpoint, by verb. The rest of the program is what it stands on. */
export const VERBS = String.raw`
# Of several the one with the greatest number, which is the last. Those that are recorded as archives of what lay here before are none of this content.
find_archive() {
  local each suffix number greatest=0
  found= taken=0
  for each in ./"$name$tar".zst ./"$name$tar".gz ./"$name$tar".*.zst ./"$name$tar".*.gz; do
    suffix=\${each#"./$name$tar"}
    there "$each" && [[ $suffix =~ ^(\.([0-9]{1,9}))?\.(zst|gz)$ ]] || continue
    number=$((10#\${BASH_REMATCH[2]:-1}))
    [[ $number -le $taken ]] || taken=$number
    [[ $number -gt $greatest && -f $each && ! -L $each && $earlier != *"/$name$tar$suffix/"* ]] || continue
    greatest=$number found=$suffix
  done
}

pack() {
  local packer words number= mask=0777 source=\${paths[0]}
  if [[ $taken -gt 0 ]]; then number=.$((taken + 1)); fi
  if command -v zstd >/dev/null; then packer=(zstd -q -c -T"$THREADS"); found=$number.zst; else packer=(gzip -c); found=$number.gz; fi
  command -v "\${packer[0]}" >/dev/null || fail 'neither zstd nor gzip is there'
  mkdir -p -- "$old" || fail "$(pwd -P) takes no new folder"
  if [[ -z $tar ]]; then words=$( { "\${packer[@]}" < "$source" > "$new$found"; } 2>&1 )
  else words=$( { tar -c --format=posix --pax-option=delete=atime,delete=ctime -f - -- "\${paths[@]}" | "\${packer[@]}" > "$new$found"; } 2>&1 )
  fi || fail "it could not be compressed: \${words:-no reason was given}"
  if [[ -d $source ]]; then mask=0666; fi
  chgrp --reference="$source" -- "$new$found" 2>/dev/null
  chmod -- "$(printf '%o' $((0$(stat -c %a -- "$source") & mask)))" "$new$found"
  touch -r "$source" -- "$new$found"
  flush "$new$found"
  matches "$new$found" . || fail 'what was read back from the archive is not the same as the original, which was left as it is'
  # Of what is there already mv -n says nothing, or that it failed, and leaves both.
  mv -n -T -- "$new$found" "./$name$tar$found" 2>/dev/null && ! there "$new$found" || fail "the archive cannot be called $name$tar$found"
  flush_names
}

archived() {
  local bytes
  bytes=$(stat -c %s -- "./$name$tar$found") || fail "$name$tar$found cannot be looked at"
  report archived "$tar$found" "$bytes" "\${digest:--}"
}

# What is not there itself is archived if its archive holds as much as there was of it; of one file that has the time of the archive, too.
holds_all() {
  local bytes at
  if [[ -z $tar ]]; then bytes=$(unpack "./$name$found" | wc -c); else bytes=$(unpack "./$name$tar$found" | tar -x -O -f - | wc -c); fi ||
    fail "it is not there, and $name$tar$found cannot be read"
  [[ $bytes -ge $recorded_bytes ]] || fail "it is not there, and $name$tar$found holds less than there was of it"
  [[ -z $tar ]] || return 0
  at=$(find "./$name$found" -printf %T@)
  to_milliseconds
  [[ $at -eq $recorded_newest ]] || fail "it is not there, and $name$found is of another time"
}

do_archive() {
  count_members
  find_archive
  if [[ $present -eq 0 ]]; then
    if [[ -z $found ]]; then report gone; return; fi
    [[ -n $give_up ]] || holds_all
    archived
    return
  fi
  not_given_up
  inspect
  writable
  [[ -z $(find "\${paths[@]}" -type f -links +1 -printf x -quit) ]] || fail 'a file of it has another name, too (a hard link): archiving it would free nothing'
  note
  # What is called like its archive and holds something else stays where it is. It is read twice: where there are no locks, others may move the original for a moment.
  if [[ -z $found ]]; then pack
  elif ! matches "./$name$tar$found" . && ! matches "./$name$tar$found" .; then
    [[ $(stamp .) == "$before" ]] || fail "it changed while it was compared with $name$tar$found"
    pack
  fi
  take_away "./$name$tar$found"
  archived
}

# Bytes that stay on the disk, or were counted twice: of files that have several names.
shared_bytes() {
  local seen links inode size bytes=0
  while read -r seen links inode size; do
    bytes=$((bytes + size * (seen < links ? seen : seen - 1)))
  done < <(find "\${paths[@]}" -type f -links +1 -printf '%n %D:%i %s\n' | sort | uniq -c)
  printf '%s' "$bytes"
}

delete_archive() {
  local archive=./$name$tar$suffix bytes
  ! restored_before || fail "$name lies in its place again: nothing was removed"
  if ! there "$archive"; then report deleted; return; fi
  [[ -f $archive && ! -L $archive ]] || fail "$name$tar$suffix is no file"
  not_given_up
  bytes=$(stat -c %s -- "$archive") && [[ $bytes -eq $recorded_bytes ]] || fail "$name$tar$suffix is not the archive that was recorded"
  throw_out "$archive" || { all_removed; fail "$name$tar$suffix could not be removed"; }
  report deleted "$bytes"
}

do_delete() {
  local shared
  if [[ -n $suffix ]]; then delete_archive; return; fi
  count_members
  if [[ $present -eq 0 ]]; then report deleted; return; fi
  not_given_up
  writable
  note
  shared=$(shared_bytes)
  # A full disk takes no new folder.
  if [[ \${#members[@]} -eq 1 ]] && ! mkdir -p -- "$old" 2>/dev/null; then throw_out "\${paths[0]}" || { all_removed; fail 'it could not be moved out of the way, and was left as it is'; }
  else take_away ''
  fi
  report deleted $((recorded_bytes - shared))
}

# Whether anything is there that was in the archive: a checkpoint of several files may have none that is called like it.
restored_before() {
  local base=\${name%.index.json}
  local shards=(./"\${base%.*}"-*-of-*."\${base##*.}")
  there "./$name" || there "./$name.index" || [[ $base != "$name" && \${#shards[@]} -gt 0 ]]
}

untar() { unpack "$1" | tar -x -p "$2" -f - -C "$new"; }

do_restore() {
  local words member archive=./$name$tar$suffix
  if [[ -z $suffix || ! -f $archive || -L $archive ]]; then
    restored_before || fail 'neither its archive nor what that held is in its folder'
    report restored
    return
  fi
  not_given_up
  mkdir -- "$new" || fail "$(pwd -P) takes no new folder"
  if [[ -z $tar ]]; then
    words=$( { unpack "$archive" > "$new/$name" && touch -r "$archive" -- "$new/$name" && { chgrp --reference="$archive" -- "$new/$name" 2>/dev/null; chmod --reference="$archive" -- "$new/$name"; }; } 2>&1 )
  else words=$(untar "$archive" --same-owner 2>&1) || { throw_out "$new"; mkdir -- "$new"; words=$(untar "$archive" --no-same-owner 2>&1); }
  fi || fail "it could not be unpacked: \${words:-no reason was given}"
  members=()
  for member in "$new"/*; do members+=("\${member##*/}"); done
  paths=("\${members[@]/#/./}")
  matches "$archive" "$new" || fail 'what was unpacked is not what the archive holds'
  words=$(find "$new" \( -type f -o -type d \) -exec sync -- {} + 2>&1) || fail "it could not be written to disk: \${words:-no reason was given}"
  # What is there by now stays there, whatever comes: another run may have seen it and removed the archive.
  for member in "\${members[@]}"; do there "./$member" || mv -n -T -- "$new/$member" "./$member"; done
  matches "$archive" . || fail "$name is there already, and is something else than what the archive holds"
  flush_names
  rm -f -- "$archive"
  throw_out "$new"
  report restored
}

do_digest() {
  count_members
  if [[ $present -eq 0 ]]; then report gone; return; fi
  not_given_up
  inspect
  note
  if [[ -f ./$name && \${#members[@]} -eq 1 ]]; then digest=$(sha256sum < "./$name") || fail 'it cannot be read'
  else
    [[ \${#members[@]} -gt 1 ]] || { cd -- "./$name" || fail 'it cannot be read'; paths=(.); }
    digest=$(find "\${paths[@]}" -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum) || fail 'it cannot be read'
    [[ \${#members[@]} -gt 1 ]] || { cd ..; paths=("./$name"); }
  fi
  [[ $(stamp .) == "$before" ]] || fail 'it changed while it was read'
  report digest "\${digest%% *}"
}
`.replaceAll('\\${', '${');
