// SPDX-License-Identifier: BSD-2-Clause
// Fonts and text on a framebuffer, drawn into memory here and compared pixel by pixel with the font.
// LINK: drivers/fbcon.c drivers/psf.c
#include "drivers/fbcon.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define W       8u
#define H       4u
#define COLUMNS 10u
#define ROWS    6u
#define PITCH   (COLUMNS * W + 13) // pixels beyond the width belong to nobody
#define UNUSED  0x12345678u

static uint8_t font_file[4 + 256 * H]; // PSF1; glyph c, row y = c + y
#define PAGE  4096u
#define PAGES 3u
static _Alignas(PAGE) uint32_t pixels[PAGES * PAGE / 4];
_Static_assert(sizeof pixels >= ROWS * H * PITCH * 4, "the screen is in whole pages");
static uint8_t text[COLUMNS * ROWS];
static struct fbcon con;

static int setup(void **state)
{
    (void)state;
    struct psf font;
    const uint8_t header[] = {0x36, 0x04, 0, H};
    memcpy(font_file, header, 4);
    for (unsigned c = 0; c < 256; c++)
        for (unsigned y = 0; y < H; y++)
            font_file[4 + c * H + y] = (uint8_t)(c + y);
    if (psf_open(font_file, sizeof font_file, &font) != OK)
        return -1;
    for (unsigned i = 0; i < ROWS * H * PITCH; i++)
        pixels[i] = UNUSED;
    memset(text, 0, sizeof text);
    assert_int_equal(fbcon_text_bytes(COLUMNS * W + 7, ROWS * H + 3, &font), sizeof text);
    fbcon_start(&con, pixels, COLUMNS * W, ROWS * H, PITCH, &font, text);
    return 0;
}

/// The screen shows exactly these lines.
static void expect(const char *const lines[ROWS])
{
    for (unsigned row = 0; row < ROWS; row++) {
        for (unsigned column = 0; column < COLUMNS; column++) {
            uint8_t c = column < strlen(lines[row]) ? (uint8_t)lines[row][column] : ' ';
            for (unsigned y = 0; y < H; y++) {
                for (unsigned x = 0; x < W; x++) {
                    bool set = c != ' ' && ((c + y) & (0x80u >> x));
                    uint32_t got = pixels[(row * H + y) * PITCH + column * W + x];
                    assert_int_equal(got, set ? con.colours[1] : con.colours[0]);
                }
            }
        }
        for (unsigned y = 0; y < H; y++)
            for (unsigned x = COLUMNS * W; x < PITCH; x++)
                assert_int_equal(pixels[(row * H + y) * PITCH + x], UNUSED);
    }
}

static void say(const char *s)
{
    fbcon_write(&con, s, strlen(s));
}

static void test_lines(void **state)
{
    (void)state;
    expect((const char *[]){"", "", "", "", "", ""});
    say("ab\ncd\r\n\x01"
        "e\tfg\b\bX");
    expect((const char *[]){"ab", "cd", "e       Xg", "", "", ""});
}

static void test_wrap(void **state)
{
    (void)state;
    say("0123456789"); // exactly one line: the next character decides
    say("\n");
    say("0123456789abc");
    expect((const char *[]){"0123456789", "0123456789", "abc", "", "", ""});
}

static void test_scroll_by_half(void **state)
{
    (void)state;
    say("1\n22\n333\n4444\n55555\n666666");
    expect((const char *[]){"1", "22", "333", "4444", "55555", "666666"});
    say("\n");
    expect((const char *[]){"4444", "55555", "666666", "", "", ""});
    say("7\n8\n9\nA");
    expect((const char *[]){"7", "8", "9", "A", "", ""});
}

static void test_overwrite(void **state)
{
    (void)state;
    say("hello\rj    \n");
    expect((const char *[]){"j", "", "", "", "", ""});
}

static void test_many(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1664525u + 1013904223u;
        char c = (char)(seed >> 24);
        fbcon_write(&con, &c, 1);
        assert_true(con.x <= COLUMNS && con.y < ROWS);
    }
}

static void test_psf2(void **state)
{
    (void)state;
    uint32_t header[8] = {0x864ab572u, 0, 32, 0, 3, 6, 3, 10}; // 3 glyphs of 10 x 3, 2 bytes a row
    uint8_t file[32 + 18];
    struct psf font;
    memcpy(file, header, 32);
    for (unsigned i = 0; i < 18; i++)
        file[32 + i] = (uint8_t)(i + 1);
    assert_int_equal(psf_open(file, sizeof file, &font), OK);
    assert_int_equal(font.width, 10);
    assert_int_equal(psf_row(&font, 1, 2), 0x0b0c0000u);
    assert_int_equal(psf_row(&font, 1, 3), 0);   // no such row
    assert_int_equal(psf_row(&font, 'A', 0), 0); // no such glyph, and no '?'
    for (size_t n = 0; n < sizeof file; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        assert_non_null(exact);
        memcpy(exact, file, n);
        assert_int_equal(psf_open(exact, n, &font), ERR_PROTOCOL);
        free(exact);
    }
    static const struct {
        unsigned field;
        uint32_t value;
        enum status want;
    } bad[] = {
        {2, 31, ERR_PROTOCOL},          {2, 0xffffffffu, ERR_PROTOCOL}, {4, 0, ERR_PROTOCOL},
        {4, 0x10000003u, ERR_PROTOCOL}, {5, 5, ERR_PROTOCOL},           {6, 0, ERR_PROTOCOL},
        {7, 0, ERR_PROTOCOL},           {7, 33, ERR_UNSUPPORTED},       {7, 0xffffffffu, ERR_UNSUPPORTED}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(file, header, 32);
        memcpy(file + 4 * bad[i].field, &bad[i].value, 4);
        assert_int_equal(psf_open(file, sizeof file, &font), bad[i].want);
    }
}

static void test_psf1_refusals(void **state)
{
    (void)state;
    struct psf font;
    assert_int_equal(psf_open(font_file, sizeof font_file - 1, &font), ERR_PROTOCOL);
    font_file[2] = 1; // 512 glyphs: not there
    assert_int_equal(psf_open(font_file, sizeof font_file, &font), ERR_PROTOCOL);
    font_file[2] = 0;
    font_file[3] = 0;
    assert_int_equal(psf_open(font_file, sizeof font_file, &font), ERR_PROTOCOL);
    assert_int_equal(psf_open(font_file, 3, &font), ERR_PROTOCOL);
}

static sigjmp_buf stopped;

static void stop(int number)
{
    (void)number;
    siglongjmp(stopped, 1);
}

/// A panic stops whoever writes, at any moment, and writes where it left the screen.
static void test_stopped_in_the_middle(void **state)
{
    struct sigaction old, here = {.sa_handler = stop, .sa_flags = SA_NODEFER};
    assert_int_equal(sigaction(SIGSEGV, &here, &old), 0);
    for (volatile unsigned page = 0; page < PAGES; page++) {
        setup(state);
        say("1\n2\n3\n4\n5\n6");
        if (sigsetjmp(stopped, 1) == 0) {
            assert_int_equal(mprotect((uint8_t *)pixels + page * PAGE, PAGE, PROT_READ), 0);
            say("\n"); // the text moves up: some pixel of this page changes
            fail();
        }
        assert_int_equal(mprotect(pixels, sizeof pixels, PROT_READ | PROT_WRITE), 0);
        assert_in_range(con.y, 0, ROWS - 1);
        for (unsigned i = 0; i < 3 * ROWS; i++)
            say("panic: \t and its words\n"); // ASan: nothing beside the screen
    }
    assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(test_lines), T(test_wrap), T(test_scroll_by_half), T(test_overwrite),
        T(test_many),  T(test_psf2), T(test_psf1_refusals),  T(test_stopped_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
