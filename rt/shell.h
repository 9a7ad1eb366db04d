// SPDX-License-Identifier: BSD-2-Clause
// A console's command line: a small line editor and a dispatcher over a table of commands. Both roles use it;
// each keeps its commands in one table of its own. Must not know what any command does. Never blocks; one
// console per machine.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define SHELL_LINE_MAX 128 // longer lines are cut, and the cut is heard (BEL)
#define SHELL_ARGS_MAX 8   // words of a line, the command included; more: the line is refused

struct shell_command {
    const char *name; // one word
    const char *help; // "[on|off]  what it does", one line
    /// argv[0] is the name. The words are valid during the call only.
    void (*run)(int argc, char *argv[]);
};

/// Sets the table (kept by reference). `help` is built in. `prompt` is printed before each line that is read
/// ("remote> ").
void shell_start(const char *prompt, const struct shell_command *commands, size_t count);
/// Takes what waits on the console (console_read) and runs the commands of completed lines. True when
/// something was typed, or a command's output goes on.
bool shell_poll(void);
/// A command whose output is long: `step` is called at each shell_poll or shell_step until it says false (or
/// Ctrl-C is typed), so that the machine goes on meanwhile. Replaces one that is under way; NULL: none.
void shell_background(bool (*step)(void));
/// Runs one step of it, if there is one. True: there was.
bool shell_step(void);
/// One typed byte, for a console whose bytes are shared with somebody else (a guest): what shell_poll does
/// with each.
void shell_feed(char byte);
