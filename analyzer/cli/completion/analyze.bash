# bash completion for analyze. The program itself says what fits: it is asked with the words of the line in
# its arguments, and answers a line for each possible word: "plain WORD HELP" (tab-separated) or "file".
_analyze_completion() {
    local kind value help files=
    COMPREPLY=()
    while IFS=$'\t' read -r kind value help; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            file) files=1 ;;
        esac
    done < <(_ANALYZE_COMPLETE=bash "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # Where nothing else fits, "-o default" completes file names by itself, with all its quoting.
    if [[ -n $files && ${#COMPREPLY[@]} -gt 0 ]]; then
        while IFS= read -r value; do
            COMPREPLY+=("$value")
        done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        compopt -o filenames 2>/dev/null
    fi
}
complete -o default -F _analyze_completion analyze
