//! bash's script. The library's own loses a word at each `=` and `:`, at which bash parts words (`COMP_WORDBREAKS`), so
//! `device=<TAB>` would complete nothing; and it lets bash expand candidates as file names.

use std::{ffi::OsString, io, path::Path};

use clap_complete::env::{self, EnvCompleter};

/// The words are taken from the line itself; of each candidate bash wants the part behind the last place where it parts words.
const SCRIPT: &str = r#"
_forebay() {
    local line=${COMP_LINE:0:COMP_POINT} words=() current="" index behind="" reply
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    index=$((${#words[@]} - 1))
    current=${words[index]}
    [[ $COMP_WORDBREAKS == *=* && $current == *=* ]] && behind=${current%"${current##*=}"}
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && reply=${current%"${current##*:}"} && ((${#reply} > ${#behind})) && behind=$reply
    COMPREPLY=()
    while IFS= read -r reply || [[ -n $reply ]]; do
        [[ -n $reply ]] && COMPREPLY+=("${reply#"$behind"}")
    done < <(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$index VARIABLE=bash "PROGRAM" -- "${words[@]}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o nosort -F _forebay BIN
"#;

/// As the library's, but for the script.
pub struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        env::Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        env::Bash.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn io::Write,
    ) -> io::Result<()> {
        let quoted = completer.replace(['"', '$', '`', '\\'], "");
        let text = SCRIPT.replace("VARIABLE", var).replace("PROGRAM", &quoted).replace("BIN", bin);
        script.write_all(text.trim_start().as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        current_dir: Option<&Path>,
        candidates: &mut dyn io::Write,
    ) -> io::Result<()> {
        env::Bash.write_complete(command, words, current_dir, candidates)
    }
}
