# fish completion for analyze. The program itself says what fits: it is asked with the words of the line in
# its arguments, and answers a line for each possible word: "plain WORD HELP" (tab-separated) or "file".
function __analyze_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -lx _ANALYZE_COMPLETE fish
    for line in ($before[1] $before[2..-1] "$current" 2>/dev/null)
        set -l parts (string split -m 2 \t -- $line)
        switch $parts[1]
            case plain
                printf '%s\t%s\n' $parts[2] $parts[3]
            case file
                __fish_complete_path "$current"
        end
    end
end
complete -c analyze -f -a '(__analyze_complete)'
