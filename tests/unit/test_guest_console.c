// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/console.c
// What a guest prints reaches the console as lines of text with its name, and nothing else does.
#include "hv/vm/guest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

static char shown[65536];
static size_t length;

void console_write(const char *bytes, size_t n)
{
    assert_true(length + n < sizeof shown);
    memcpy(shown + length, bytes, n);
    length += n;
    shown[length] = 0;
}

enum status guest_uart_input(struct guest_uart *u, uint8_t byte)
{
    (void)u, (void)byte;
    return OK;
}

static struct boot_guest config = {.name = "web"};
static struct guest guest = {.config = &config};

static void print(const char *bytes, size_t n)
{
    length = 0;
    shown[0] = 0;
    for (size_t i = 0; i < n; i++)
        guest_console_byte(&guest, bytes[i]);
}
#define SHOWS(bytes, text)                                                                                   \
    do {                                                                                                     \
        print(bytes, sizeof(bytes) - 1);                                                                     \
        assert_string_equal(shown, text);                                                                    \
    } while (0)

static void lines(void **state)
{
    (void)state;
    SHOWS("one\r\ntwo", "web| one\n");
    SHOWS(" and three\n\n", "web| two and three\nweb|  \n");
    SHOWS("a\tb\n", "web| a\tb\n");
    SHOWS("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x91\x8d\n",
          "web| gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x91\x8d\n"); // UTF-8
}

static void no_control_sequences(void **state)
{
    (void)state;
    SHOWS("\x1b[31mred\x1b[0m\n", "web| red\n");
    SHOWS("\x1b[2A\x1b[2K[   1.0] host1: all is well\n",
          "web| [   1.0] host1: all is well\n"); // two lines up
    SHOWS("\x1b[?1049h\x1b[>0;276;0cx\x1b[6n\n", "web| x\n");
    SHOWS("\x1b]0;title\x07y\n", "web| 0;titley\n");
    SHOWS("\x1b(0\x1b)B\x1b#8\x1b"
          "cz\n",
          "web| z\n");
    SHOWS("\x1bP$q\"p\x1b\\\n", "web| $q\"p\n");
    SHOWS("\x1b\x1b[\x1b[5Bq\x08\x08\x7f\x0c\x0e\x05\n", "web| q\n");
    SHOWS("\x9b"
          "5A\xc2\x9b"
          "5A \x85\x90\n",
          "web| 5A\xc2"
          "5A \n");
    SHOWS("\x1b[12;\nnot a parameter\n", "web|  \nweb| not a parameter\n");
}

static void whatever_it_prints(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (unsigned round = 0; round < 2000; round++) {
        char bytes[300];
        for (unsigned i = 0; i < sizeof bytes; i++) {
            x = x * 1664525 + 1013904223;
            bytes[i] = (char)(x >> 24);
            if (x % 3 == 0)
                bytes[i] = "\x1b[];?m5\n"[x >> 8 & 7];
        }
        print(bytes, sizeof bytes);
        for (size_t i = 0; i < length; i++) {
            uint8_t c = (uint8_t)shown[i], before = i ? (uint8_t)shown[i - 1] : 0;
            assert_true(c >= ' ' || c == '\n' || c == '\t');
            assert_true(c != 0x7f && (c < 0x80 || c >= 0xa0 || (before >= 0x80 && before != 0xc2)));
        }
    }
    guest_console_flush(&guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(no_control_sequences),
        cmocka_unit_test(whatever_it_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
