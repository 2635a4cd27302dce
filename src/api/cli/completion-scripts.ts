/**
 * Scripts for `arctic completion SHELL`. Each hands the words before the cursor to `arctic __complete`, which answers a
 * candidate per line, a tab, and what it is; the one line `:file` asks for files. A candidate never needs quoting, and
 * the scripts never evaluate one: names come from other hosts.
 */
export function completionScript(shell: string): string | null {
  return Object.hasOwn(SCRIPTS, shell) ? (SCRIPTS[shell] ?? null) : null
}

const SCRIPTS: Record<string, string> = {
  bash: `# bash completion for arctic; source <(arctic completion bash)
_arctic() {
  local line word="\${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :file ]]; then
      compopt -o filenames
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word")
      return
    fi
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _arctic arctic
`,
  zsh: `#compdef arctic
# zsh completion for arctic; arctic completion zsh > "\${fpath[1]}/_arctic"
_arctic() {
  local line
  local -a candidates
  while IFS= read -r line; do
    if [[ $line == :file ]]; then _files; return; fi
    candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe arctic candidates
}
if [[ $funcstack[1] == _arctic ]]; then _arctic "$@"; else compdef _arctic arctic; fi
`,
  fish: `# fish completion for arctic; arctic completion fish > ~/.config/fish/completions/arctic.fish
function __arctic_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l lines ($words[1] __complete -- $words[2..-1] 2>/dev/null)
  if test "$lines" = :file
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $lines
  end
end
complete -c arctic -f -a '(__arctic_complete)'
`
}
