// SPDX-License-Identifier: BSD-2-Clause
// LINK: boot/cpu_check.c boot/options.c boot/refusal.c
//
// What the loader decides from the CPU, and from its load options. That VT-x is locked off is tested here
// only: Bochs resets with it locked on, QEMU has no VT-x to lock, and nothing a program does undoes a lock.
#include "boot/cpu_check.h"
#include "boot/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct cpu_facts good = {
    .vendor = "GenuineIntel",
    .leaf1_ecx = CPUID_1_ECX_VMX,
    .ext1_edx = CPUID_80000001_EDX_NX,
    .feature_control = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX,
    .cr4 = 0x668,
};

static void check(struct cpu_facts cpu, enum boot_role role, const char *wanted)
{
    struct refusal sentence = {.text = ""};
    enum status s = cpu_check(&cpu, role, &sentence);
    assert_int_equal(s == OK, wanted == NULL);
    if (wanted != NULL && strstr(sentence.text, wanted) == NULL)
        fail_msg("'%s' is not about: %s", sentence.text, wanted);
}

static void test_cpu(void **state)
{
    (void)state;
    check(good, BOOT_ROLE_HOST, NULL);
    check(good, BOOT_ROLE_REMOTE, NULL);

    struct cpu_facts cpu = good;
    cpu.leaf1_ecx = ~CPUID_1_ECX_VMX;
    check(cpu, BOOT_ROLE_HOST, "This CPU (GenuineIntel) offers no VT-x");
    check(cpu, BOOT_ROLE_REMOTE, NULL);

    cpu = good;
    memcpy(cpu.vendor, "AuthenticAMD", sizeof cpu.vendor);
    check(cpu, BOOT_ROLE_HOST, "This CPU (AuthenticAMD) has no VT-x");
    check(cpu, BOOT_ROLE_REMOTE, NULL);

    static const struct {
        uint64_t feature_control;
        const char *host;
    } locks[] = {
        {0, NULL}, // not locked: the hypervisor switches it on
        {FEATURE_CONTROL_VMX_OUTSIDE_SMX, NULL},
        {FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX | 1ull << 1, NULL},
        {FEATURE_CONTROL_LOCK,
         "VT-x is disabled in the firmware setup and locked (IA32_FEATURE_CONTROL = 0x1)"},
        {FEATURE_CONTROL_LOCK | 1ull << 1, "IA32_FEATURE_CONTROL = 0x3"}, // inside SMX only
    };
    for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) {
        cpu = good;
        cpu.feature_control = locks[i].feature_control;
        check(cpu, BOOT_ROLE_HOST, locks[i].host);
        check(cpu, BOOT_ROLE_REMOTE, NULL);
    }
    cpu = good;
    cpu.ext1_edx = 0;
    check(cpu, BOOT_ROLE_HOST, "no execute-disable bit");
    check(cpu, BOOT_ROLE_REMOTE, "no execute-disable bit");
    cpu = good;
    cpu.cr4 |= CR4_LA57;
    check(cpu, BOOT_ROLE_REMOTE, "5-level paging");
}

static struct options got;
static struct refusal why;

/// `text` as UCS-2 in a buffer of its exact size; `end`: with its NUL.
static enum status read_text(const char *text, bool end)
{
    size_t n = strlen(text) + end;
    uint8_t *wide = malloc(n ? 2 * n : 1);
    for (size_t i = 0; i < n; i++) {
        wide[2 * i] = (uint8_t)text[i];
        wide[2 * i + 1] = 0;
    }
    memset(&why, 0, sizeof why);
    enum status s = options_read(wide, 2 * n, &got, &why);
    free(wide);
    return s;
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ini; // NULL: refused
        bool shell;
    } cases[] = {
        {"", "\\farbus.ini", false},
        {"BOOTX64.EFI", "\\farbus.ini", true},
        {"fs0:\\EFI\\BOOT\\bootx64.efi  ", "\\farbus.ini", true},
        {"BOOTX64.EFI other.ini", "other.ini", true},
        {"BOOTX64.EFI \t\\dir\\Other.INI more", "\\dir\\Other.INI", true},
        {"\"my loader.efi\" \"my file.ini\"", "my file.ini", true},
        {"test/a.ini", "test/a.ini", false},
        {"some words of a boot entry", "\\farbus.ini", false},
        {"BOOTX64.EFI other.txt", NULL, true},
        {"BOOTX64.EFI .ini", NULL, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int end = 0; end < 2; end++) {
            enum status s = read_text(cases[i].text, end != 0);
            assert_int_equal(s == OK, cases[i].ini != NULL);
            assert_int_equal(got.shell, cases[i].shell);
            if (s == OK)
                assert_string_equal(got.ini, cases[i].ini);
            else
                assert_non_null(strstr(why.text, "Usage: BOOTX64.EFI [FILE.ini]"));
        }
    }
    // What a firmware may leave there: nothing, one byte, no text, very much text.
    assert_int_equal(options_read(NULL, 0, &got, &why), OK);
    assert_int_equal(options_read("x", 1, &got, &why), OK);
    assert_int_equal(options_read("\x01\x04.ini", 6, &got, &why), OK);
    assert_string_equal(got.ini, OPTIONS_DEFAULT_INI);
    char many[1000];
    memset(many, 'x', sizeof many);
    memcpy(many + sizeof many - 5, ".ini", 5);
    assert_int_equal(read_text(many, true), OK);
    assert_string_equal(got.ini, OPTIONS_DEFAULT_INI);
    assert_int_equal(read_text(many + sizeof many - 5 - 123, true), OK);
    assert_int_equal(strlen(got.ini), BOOT_PATH_MAX - 1);
    assert_int_not_equal(read_text(many + sizeof many - 5 - 124, true), OK);
    assert_non_null(strstr(why.text, "the limit is 127"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpu), cmocka_unit_test(test_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
