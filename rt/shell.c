// SPDX-License-Identifier: BSD-2-Clause
// The console's command line (rt/shell.h). Invariant: `length` < SHELL_LINE_MAX, and the line is terminated
// before it is split.
#include "rt/shell.h"
#include "rt/log.h"
#include <string.h>

static struct {
    const char *prompt;
    const struct shell_command *commands;
    size_t count;
    char line[SHELL_LINE_MAX];
    size_t length;
    bool (*step)(void); // of a command whose output goes on; NULL: none
    char previous;      // to take CR LF as one end of line
} shell;

static void echo(const char *text)
{
    console_write(text, strlen(text));
}

static void prompt(void)
{
    if (shell.prompt)
        echo(shell.prompt);
}

void shell_start(const char *prompt_text, const struct shell_command *commands, size_t count)
{
    shell.prompt = prompt_text;
    shell.commands = commands;
    shell.count = count;
    shell.length = 0;
    shell.previous = 0;
    prompt();
}

static void help(void)
{
    log_info("shell", "help  this list");
    for (size_t i = 0; i < shell.count; i++)
        log_info("shell", "%s  %s", shell.commands[i].name, shell.commands[i].help);
}

/// Splits at blanks, in place. Returns the number of words, or -1 when there are more than SHELL_ARGS_MAX.
static int split(char *line, char *argv[SHELL_ARGS_MAX])
{
    int argc = 0;
    char *p = line;
    for (;;) {
        while (*p == ' ' || *p == '\t')
            p++;
        if (!*p)
            return argc;
        if (argc == SHELL_ARGS_MAX)
            return -1;
        argv[argc++] = p;
        while (*p && *p != ' ' && *p != '\t')
            p++;
        if (*p)
            *p++ = 0;
    }
}

static void run(char *line)
{
    char *argv[SHELL_ARGS_MAX];
    int argc = split(line, argv);
    if (argc == 0)
        return;
    if (argc < 0) {
        log_error("shell", "more than %d words: not run", SHELL_ARGS_MAX);
        return;
    }
    if (!strcmp(argv[0], "help")) {
        help();
        return;
    }
    for (size_t i = 0; i < shell.count; i++) {
        if (!strcmp(argv[0], shell.commands[i].name)) {
            shell.commands[i].run(argc, argv);
            return;
        }
    }
    log_error("shell", "no command '%s'; `help` lists them", argv[0]);
}

static void erase(void)
{
    while (shell.length) {
        shell.length--;
        echo("\b \b");
    }
}

void shell_feed(char byte)
{
    char previous = shell.previous;
    shell.previous = byte;
    switch (byte) {
    case '\n':
        if (previous == '\r')
            return;
        // fall through
    case '\r':
        echo("\r\n");
        shell.line[shell.length] = 0;
        shell.length = 0;
        run(shell.line);
        if (!shell.step) // else it comes behind the output that goes on
            prompt();
        return;
    case '\b':
    case 0x7f:
        if (shell.length) {
            shell.length--;
            echo("\b \b");
        }
        return;
    case 0x03: // Ctrl-C
        erase();
        if (shell.step) {
            shell.step = NULL;
            echo("\r\n");
            prompt();
        }
        return;
    case 0x15: // Ctrl-U
        erase();
        return;
    default:
        if ((byte < ' ' || byte > '~') && byte != '\t')
            return;
        if (shell.length + 1 >= SHELL_LINE_MAX) {
            echo("\a");
            return;
        }
        if (byte == '\t')
            byte = ' ';
        shell.line[shell.length++] = byte;
        console_write(&byte, 1);
    }
}

void shell_background(bool (*step)(void))
{
    shell.step = step;
}

bool shell_step(void)
{
    bool (*step)(void) = shell.step;
    if (!step)
        return false;
    if (!step() && shell.step == step) {
        shell.step = NULL;
        prompt();
    }
    return true;
}

bool shell_poll(void)
{
    bool busy = shell_step();
    for (int c; (c = console_read()) >= 0; busy = true)
        shell_feed((char)c);
    return busy;
}
