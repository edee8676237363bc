"""Shell completion of commands and settings: eval "$(fast-style completion bash)"."""

import re
import sys

from fast_style.cli import COMMANDS, errors_in_one_line
from fast_style.cli.help import all_settings
from fast_style.errors import ConfigError
from fast_style.zoo import all_networks

_BASH = """\
_fast_style() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" word words
    word="${{line##*[[:space:]]}}"
    read -ra words <<< "$line"
    local known="{commands}"
    if [[ ${{#words[@]}} -gt 2 || ( ${{#words[@]}} -eq 2 && -z $word ) ]]; then
        case "${{words[1]}}" in
{cases}
            *) known="" ;;
        esac
    fi
    COMPREPLY=( $(compgen -W "$known" -- "$word") )
    # Bash takes what stands before the last = for another word.
    [[ $word == *=* ]] && COMPREPLY=( "${{COMPREPLY[@]#"${{word%=*}}="}}" )
    [[ ${{#COMPREPLY[@]}} -eq 0 ]] && COMPREPLY=( $(compgen -f -- "${{word##*=}}") )
    [[ ${{#COMPREPLY[@]}} -eq 1 && $COMPREPLY == *= ]] && compopt -o nospace
}}
complete -F _fast_style fast-style
"""

_ZSH = """\
#compdef fast-style
_fast_style() {{
    local -a known
    if (( CURRENT == 2 )); then
        known=({commands})
    else
        case "$words[2]" in
{cases}
        esac
    fi
    compadd -S '' -- ${{(M)known:#*=}}
    compadd -- ${{known:#*=}}
    compset -P '*='
    _files
}}
compdef _fast_style fast-style
"""


def choices() -> dict[str, list[str]]:
    """Return the words that may follow each command: settings, ending in =, and settings with their choices."""
    found: dict[str, list[str]] = {name: [] for name in COMMANDS}
    for name, command in COMMANDS.items():
        for group, settings in all_settings(command.config) if command.config else ():
            words = [f"{setting.key}=" for setting in settings]
            if group is not None:
                # `painting` is chosen by style.image=FILE only.
                words += [f"{group.name}={choice}" for choice in group.choices if choice != "painting"]
            found[name] += words
            for setting in settings:
                written = re.match(r"[\w.-]+(?: \| [\w.-]+)+", setting.comment)  # such as auto | cpu | gpu
                values = written[0].split(" | ") if written else []
                values += ["true", "false"] if setting.default in ("true", "false") else []
                found[name] += [f"{setting.key}={value}" for value in values]
        if "ckpt=" in found[name]:
            found[name] += [f"ckpt={network}" for network in all_networks()]
    found["checks"], found["completion"] = ["json=true"], ["bash", "zsh", "fish"]
    return found


def script(shell: str) -> str:
    """Return the completion script of a shell; ConfigError if the shell is not supported."""
    found = choices()
    if shell == "fish":
        lines = ["complete -c fast-style -n __fish_use_subcommand -f"]
        for name, command in COMMANDS.items():
            lines.append(f"complete -c fast-style -n __fish_use_subcommand -a {name} -d '{command.does}'")
            if found[name]:
                words = " ".join(found[name])
                lines.append(f"complete -c fast-style -n '__fish_seen_subcommand_from {name}' -a '{words}'")
        return "\n".join(lines) + "\n"
    if shell in ("bash", "zsh"):
        template, left, right = (_BASH, '"', '"') if shell == "bash" else (_ZSH, "(", ")")
        cases = [f"            {name}) known={left}{' '.join(words)}{right} ;;" for name, words in found.items()]
        return template.format(commands=" ".join(COMMANDS), cases="\n".join(cases))
    raise ConfigError(f"{shell!r} is none of the shells: write fast-style completion bash, zsh or fish")


def entry_point() -> None:
    """Run the command."""
    with errors_in_one_line():
        shell = sys.argv[1] if len(sys.argv) == 2 else ""
        if shell in ("-h", "--help"):
            print(
                "fast-style completion SHELL: print what completes commands and settings.\n\n"
                '  bash and zsh: eval "$(fast-style completion bash)"      in ~/.bashrc, or with zsh in ~/.zshrc\n'
                "  fish:         fast-style completion fish | source        in ~/.config/fish/config.fish"
            )
            return
        print(script(shell), end="")
