// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vmx/caps.c
#include "hv/vmx/caps.h"
#include "hv/vmx/vmcs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// Capability MSRs of a CPU that allows every control either way, but for the bits that are always 1 (appendix
// A.2).
static struct vmx_msrs generous(void)
{
    return (struct vmx_msrs){
        .basic = 1ull << 55,
        .pin = 0xffffffff00000016ull,
        .cpu = 0xffffffff04006172ull & ~((uint64_t)(CPU_CR3_LOAD | CPU_CR3_STORE)),
        .exit = 0xffffffff00036dfbull,
        .entry = 0xffffffff000011fbull,
        .secondary = 0xffffffff00000000ull,
        .misc = 5,
        .ept_vpid = 1ull << 6 | 1ull << 14 | 1ull << 16 | 1ull << 17 | 1ull << 20 | 1ull << 21 | 1ull << 25 |
                    1ull << 32 | 1ull << 41,
    };
}

static void adjust_masks(void **state)
{
    (void)state;
    assert_int_equal(vmx_adjust(0x0000000f00000003ull, 0x34), 0x7); // must-be-1 added, must-be-0 removed
    assert_int_equal(vmx_adjust(0xffffffff00000000ull, 0x34), 0x34);
}

static void everything_there(void **state)
{
    (void)state;
    struct vmx_msrs m = generous();
    struct vmx_controls c;
    const char *missing = NULL;
    assert_int_equal(vmx_controls_compute(&m, &c, &missing), OK);
    assert_true(c.secondary & SEC_EPT);
    assert_true(c.secondary & SEC_UNRESTRICTED_GUEST);
    assert_true(c.vpid);
    assert_true(c.ept_1g);
    assert_int_equal(c.timer_shift, 5);
    assert_true((c.pin & 0x16) == 0x16);
}

static void each_missing_feature_is_named(void **state)
{
    (void)state;
    static const struct {
        size_t msr;
        uint32_t bit;
        const char *name;
    } rows[] = {
        {offsetof(struct vmx_msrs, secondary), SEC_EPT, "extended page tables (EPT)"},
        {offsetof(struct vmx_msrs, secondary), SEC_UNRESTRICTED_GUEST, "unrestricted guest"},
        {offsetof(struct vmx_msrs, pin), PIN_PREEMPTION_TIMER, "the VMX-preemption timer"},
        {offsetof(struct vmx_msrs, cpu), CPU_SECONDARY, "secondary processor-based controls"},
        {offsetof(struct vmx_msrs, cpu), CPU_MSR_BITMAPS, "MSR bitmaps"},
        {offsetof(struct vmx_msrs, exit), EXIT_HOST_64, "64-bit host"},
        {offsetof(struct vmx_msrs, entry), ENTRY_LOAD_EFER, "load IA32_EFER on entry"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vmx_msrs m = generous();
        struct vmx_controls c;
        const char *missing = "";
        uint64_t *msr = (uint64_t *)((char *)&m + rows[i].msr);
        *msr &= ~((uint64_t)rows[i].bit << 32 | rows[i].bit);
        assert_int_equal(vmx_controls_compute(&m, &c, &missing), ERR_UNSUPPORTED);
        assert_string_equal(missing, rows[i].name);
    }
}

static void optional_features_are_left_out(void **state)
{
    (void)state;
    struct vmx_msrs m = generous();
    struct vmx_controls c;
    const char *missing;
    m.ept_vpid &= ~(1ull << 41); // VPIDs that cannot be invalidated one by one are not used
    m.secondary &= ~((uint64_t)(SEC_RDTSCP | SEC_PAUSE_LOOP) << 32);
    assert_int_equal(vmx_controls_compute(&m, &c, &missing), OK);
    assert_false(c.vpid);
    assert_false(c.secondary & (SEC_VPID | SEC_RDTSCP | SEC_PAUSE_LOOP));
}

static void forced_exits_are_refused(void **state)
{
    (void)state;
    struct vmx_msrs m = generous();
    struct vmx_controls c;
    const char *missing = "";
    m.cpu |= CPU_CR3_LOAD;
    assert_int_equal(vmx_controls_compute(&m, &c, &missing), ERR_UNSUPPORTED);
    assert_string_equal(missing, "MOV to CR3 without an exit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adjust_masks),
        cmocka_unit_test(everything_there),
        cmocka_unit_test(each_missing_feature_is_named),
        cmocka_unit_test(optional_features_are_left_out),
        cmocka_unit_test(forced_exits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
