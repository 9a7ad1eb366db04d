// SPDX-License-Identifier: BSD-2-Clause
// LINK: rt/shell.c
// The console's line editor and dispatcher, typed at byte by byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "rt/log.h"
#include "rt/shell.h"
#include "tests/unit/host/host.h"
#include <cmocka.h>
#include <string.h>

static int runs, last_argc;
static char last_words[SHELL_ARGS_MAX][SHELL_LINE_MAX];
static char echoed[4096];
static size_t echoed_count;
static const char *typed = "";

void console_write(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && echoed_count + 1 < sizeof echoed; i++)
        echoed[echoed_count++] = bytes[i];
    echoed[echoed_count] = 0;
}

int console_read(void)
{
    return *typed ? (unsigned char)*typed++ : -1;
}

static void run(int argc, char *argv[])
{
    runs++;
    last_argc = argc;
    for (int i = 0; i < argc; i++)
        strcpy(last_words[i], argv[i]);
}

static const struct shell_command commands[] = {{"go", "somewhere", run}, {"stop", "here", run}};

static int setup(void **state)
{
    (void)state;
    runs = last_argc = 0;
    echoed_count = 0;
    echoed[0] = 0;
    typed = "";
    shell_start("> ", commands, 2);
    return 0;
}

static void type(const char *text)
{
    typed = text;
    assert_true(shell_poll());
    assert_false(shell_poll());
}

static void words_reach_the_command(void **state)
{
    (void)state;
    type("  go  one\ttwo \r");
    assert_int_equal(runs, 1);
    assert_int_equal(last_argc, 3);
    assert_string_equal(last_words[0], "go");
    assert_string_equal(last_words[1], "one");
    assert_string_equal(last_words[2], "two");
    assert_string_equal(echoed, ">   go  one two \r\n> ");
}

static void ends_of_line_are_one(void **state)
{
    (void)state;
    type("go\r\ngo\ngo\r");
    assert_int_equal(runs, 3);
    echoed_count = 0;
    type("\r\n\n\r");
    assert_string_equal(echoed, "\r\n> \r\n> \r\n> "); // CR LF, LF, CR
    assert_int_equal(runs, 3);
}

static void mistakes_are_mended(void **state)
{
    (void)state;
    type("\b\x7fgoo\b 1\x7f\r");
    assert_int_equal(runs, 1);
    assert_int_equal(last_argc, 1);
    assert_string_equal(last_words[0], "go");
    type("rubbish\x15stop\r");
    assert_int_equal(runs, 2);
    assert_string_equal(last_words[0], "stop");
    type("rubbish\x03go\r");
    assert_int_equal(runs, 3);
}

static void unknown_and_overlong_are_refused(void **state)
{
    (void)state;
    type("nothing\r");
    assert_non_null(strstr(host_log_last(), "no command 'nothing'"));
    type("go 1 2 3 4 5 6 7 8\r");
    assert_non_null(strstr(host_log_last(), "more than 8 words"));
    type("go 1 2 3 4 5 6 7\r");
    assert_int_equal(runs, 1);
    assert_int_equal(last_argc, 8);
    char line[400];
    memset(line, 'x', sizeof line);
    memcpy(line, "go ", 3);
    line[398] = '\r';
    line[399] = 0;
    type(line);
    assert_int_equal(runs, 2);
    assert_int_equal(strlen(last_words[1]), SHELL_LINE_MAX - 1 - 3);
    assert_non_null(strchr(echoed, '\a'));
}

static void other_bytes_are_ignored(void **state)
{
    (void)state;
    char bytes[257];
    size_t n = 0;
    for (unsigned c = 1; c < 256; c++)
        if (c != '\r' && c != '\n' && c != '\b' && c != '\t' && c != 0x7f && (c < ' ' || c > '~'))
            bytes[n++] = (char)c;
    bytes[n] = 0;
    type(bytes);
    type("go\r");
    assert_int_equal(runs, 1);
}

static void help_lists_all(void **state)
{
    unsigned before = host_log_count();
    (void)state;
    type("help\r");
    assert_int_equal(host_log_count(), before + 3);
    assert_non_null(strstr(host_log_last(), "stop  here"));
}

static int steps;

static bool step(void)
{
    console_write("x", 1);
    return ++steps < 3;
}

static void output_goes_on_between_polls(void **state)
{
    (void)state;
    steps = 0;
    shell_background(step);
    typed = "go\r"; // commands are taken meanwhile
    assert_true(shell_poll());
    assert_int_equal(runs, 1);
    assert_int_equal(steps, 1);
    assert_true(shell_poll());
    echoed_count = 0;
    assert_true(shell_poll());
    assert_string_equal(echoed, "x> "); // the prompt is back when it has ended
    assert_false(shell_poll());
    shell_background(step);
    steps = 0;
    typed = "\x03";
    assert_true(shell_poll());
    assert_false(shell_poll());
    assert_int_equal(steps, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(words_reach_the_command, setup),
        cmocka_unit_test_setup(ends_of_line_are_one, setup),
        cmocka_unit_test_setup(mistakes_are_mended, setup),
        cmocka_unit_test_setup(unknown_and_overlong_are_refused, setup),
        cmocka_unit_test_setup(other_bytes_are_ignored, setup),
        cmocka_unit_test_setup(help_lists_all, setup),
        cmocka_unit_test_setup(output_goes_on_between_polls, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
