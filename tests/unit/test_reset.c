// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/reset.c remote-fw/functions.c remote-fw/config_mask.c
// Function reset against a mock function: method, waiting times, what is put back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "remote-fw/reset.h"
#include "tests/unit/mock_function.h"
#include <cmocka.h>

#define MS 1000000ull

static struct functions table;
static struct mock_device device;
static struct function *f;

static int setup(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    f = mock_lend(&table, &device, 4);
    device.trace_count = 0;
    return 0;
}

/// Polls every millisecond; returns the time at which the reset ended.
static uint64_t run(enum status expected, bool enable)
{
    uint64_t now = 0;
    enum status s;
    reset_begin(f, now);
    assert_int_equal(mock_get(&device, 4, 2), 0x0400); // at once: no decoding, no bus mastering, no INTx
    assert_int_equal(f->state, FUNCTION_RESETTING);
    while ((s = reset_poll(f, now, enable)) == ERR_BUSY) {
        now += MS;
        assert_true(now < 10000 * MS);
    }
    assert_int_equal(s, expected);
    return now;
}

static void flr_waits_and_puts_back(void **state)
{
    struct mock_device before = device;
    (void)state;
    assert_int_equal(f->reset.method, RESET_FLR);
    assert_true(f->info.flags & WIRE_FN_FLR);
    uint64_t took = run(OK, true);
    assert_int_equal(device.resets, 1);
    assert_true(took >= 100 * MS && took <= 110 * MS);
    assert_memory_equal(device.config + 0x10, before.config + 0x10, 24); // BARs
    assert_int_equal(mock_get(&device, 4, 2), 0x0403);
    assert_int_equal(mock_get(&device, MOCK_PCIE + 8, 2), 0x2810);
    assert_int_equal(mock_get(&device, MOCK_PCIE + 0x10, 2), 0x0040);
    assert_int_equal(mock_get(&device, 0x0c, 2), 0x0010);
}

static void interrupts_are_off_before_and_after(void **state)
{
    (void)state;
    (void)run(OK, true);
    assert_int_equal(mock_get(&device, MOCK_MSI + 2, 2) & 1, 0);
    assert_int_equal(mock_get(&device, MOCK_MSIX + 2, 2) & 0x8000, 0);
}

static void without_owner_decoding_stays_off(void **state)
{
    (void)state;
    (void)run(OK, false);
    assert_int_equal(mock_get(&device, 4, 2), 0x0400);
    reset_enable(f);
    assert_int_equal(mock_get(&device, 4, 2), 0x0403);
}

static void decoding_is_what_the_bars_need(void **state)
{
    (void)state;
    f->info.bars[2].kind = 0;
    reset_enable(f);
    assert_int_equal(mock_get(&device, 4, 2), 0x0402);
    f->info.bars[0].kind = f->info.bars[3].kind = f->info.bars[4].kind = 0;
    f->info.bars[2].kind = 1;
    reset_enable(f);
    assert_int_equal(mock_get(&device, 4, 2), 0x0401);
}

static void pending_transactions_are_awaited(void **state)
{
    (void)state;
    mock_put(&device, MOCK_PCIE + 0x0a, 2, 0x0020);
    uint64_t took = run(OK, true); // never ends: triggered after 100 ms all the same
    assert_true(took >= 200 * MS);
    assert_int_equal(device.resets, 1);
}

static void late_device_is_awaited_absent_one_is_not(void **state)
{
    (void)state;
    device.away = 500;
    assert_true(run(OK, true) >= 600 * MS);
    device.away = 1000000;
    uint64_t took = run(ERR_IO, true);
    assert_true(took >= 1100 * MS && took < 1200 * MS);
    assert_int_equal(f->reset.failed, 1);
    device.away = 0;
    (void)run(OK, true);
    assert_int_equal(f->reset.count, 3);
}

static void power_management_is_the_next_best(void **state)
{
    (void)state;
    mock_put(&device, MOCK_PCIE + 4, 4, 0x00008fc0); // no FLR
    mock_put(&device, MOCK_PM + 4, 2, 0x0008);       // No_Soft_Reset: D3hot keeps everything
    function_prepare(f);
    assert_int_equal(f->reset.method, RESET_COMMAND);
    mock_put(&device, MOCK_PM + 4, 2, 0x8100);
    function_prepare(f);
    assert_int_equal(f->reset.method, RESET_PM);
    device.trace_count = 0;
    uint64_t took = run(OK, true);
    assert_true(took >= 20 * MS && took < 30 * MS);
    unsigned d3 = 0, d0 = 0;
    for (unsigned i = 0; i < device.trace_count; i++) {
        if (device.trace[i].offset != MOCK_PM + 4)
            continue;
        assert_int_equal(device.trace[i].value & 0x8000, 0); // PME Status is not cleared by the way
        if ((device.trace[i].value & 3) == 3)
            d3 = i + 1;
        else
            d0 = i + 1;
    }
    assert_true(d3 && d0 > d3);
    assert_int_equal(device.resets, 0);
}

static void advanced_features_reset_conventional_functions(void **state)
{
    (void)state;
    mock_put(&device, MOCK_PCIE + 4, 4, 0x00008fc0);
    mock_put(&device, MOCK_VENDOR, 4, 0x03060013);
    function_prepare(f);
    assert_int_equal(f->reset.method, RESET_AF);
    assert_true(run(OK, true) >= 100 * MS);
    assert_int_equal(mock_get(&device, MOCK_VENDOR + 4, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(flr_waits_and_puts_back, setup),
        cmocka_unit_test_setup(interrupts_are_off_before_and_after, setup),
        cmocka_unit_test_setup(without_owner_decoding_stays_off, setup),
        cmocka_unit_test_setup(decoding_is_what_the_bars_need, setup),
        cmocka_unit_test_setup(pending_transactions_are_awaited, setup),
        cmocka_unit_test_setup(late_device_is_awaited_absent_one_is_not, setup),
        cmocka_unit_test_setup(power_management_is_the_next_best, setup),
        cmocka_unit_test_setup(advanced_features_reset_conventional_functions, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
