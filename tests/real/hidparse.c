/*
 * hidparse.c - a real kernel library, hidparse.sys from Debian's libwine, parses three HID report descriptors for us.
 * SPDX-License-Identifier: MIT
 *
 * The image is the package's, loaded as any driver: relocated, its sections protected, its imports of ntoskrnl.exe bound
 * to our pools. What it answers is checked against the USB HID specification's rules (Device Class Definition 1.11), by
 * which the descriptors below are written; and every byte of pool that it took is given back.
 * Its debug channels import a few user-mode routines; the test supplies those.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ex/ex.h"
#include "ldr/ldr.h"
#include "ntmm.h"

#define HIDPARSE            "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/hidparse.sys"
#define HIDP_STATUS_SUCCESS ((NTSTATUS)0x00110000)

/* hidpi.h and hidpddi.h, as Microsoft documents them. */
typedef USHORT USAGE;
typedef struct _HIDP_COLLECTION_DESC {
    USAGE UsagePage, Usage;
    UCHAR CollectionNumber, Reserved[15];
    USHORT InputLength, OutputLength, FeatureLength, PreparsedDataLength;
    PVOID PreparsedData;
} HIDP_COLLECTION_DESC;
typedef struct _HIDP_REPORT_IDS {
    UCHAR ReportID, CollectionNumber;
    USHORT InputLength, OutputLength, FeatureLength;
} HIDP_REPORT_IDS;
typedef struct _HIDP_DEVICE_DESC {
    HIDP_COLLECTION_DESC *CollectionDesc;
    ULONG CollectionDescLength;
    HIDP_REPORT_IDS *ReportIDs;
    ULONG ReportIDsLength;
    ULONG Dbg[8];
} HIDP_DEVICE_DESC;
typedef struct _HIDP_CAPS {
    USAGE Usage, UsagePage;
    USHORT InputReportByteLength, OutputReportByteLength, FeatureReportByteLength, Reserved[17], NumberLinkCollectionNodes,
        NumberInputButtonCaps, NumberInputValueCaps, NumberInputDataIndices, NumberOutputButtonCaps, NumberOutputValueCaps,
        NumberOutputDataIndices, NumberFeatureButtonCaps, NumberFeatureValueCaps, NumberFeatureDataIndices;
} HIDP_CAPS;
typedef struct _HIDP_RANGE {
    USAGE UsageMin, UsageMax; /* NotRange: Usage, Reserved */
    USHORT StringMin, StringMax, DesignatorMin, DesignatorMax, DataIndexMin, DataIndexMax;
} HIDP_RANGE;
typedef struct _HIDP_BUTTON_CAPS {
    USAGE UsagePage;
    UCHAR ReportID;
    BOOLEAN IsAlias;
    USHORT BitField, LinkCollection;
    USAGE LinkUsage, LinkUsagePage;
    BOOLEAN IsRange, IsStringRange, IsDesignatorRange, IsAbsolute;
    ULONG Reserved[10];
    HIDP_RANGE Range;
} HIDP_BUTTON_CAPS;
typedef struct _HIDP_VALUE_CAPS {
    USAGE UsagePage;
    UCHAR ReportID;
    BOOLEAN IsAlias;
    USHORT BitField, LinkCollection;
    USAGE LinkUsage, LinkUsagePage;
    BOOLEAN IsRange, IsStringRange, IsDesignatorRange, IsAbsolute, HasNull;
    UCHAR Reserved;
    USHORT BitSize, ReportCount, Reserved2[5];
    ULONG UnitsExp, Units;
    LONG LogicalMin, LogicalMax, PhysicalMin, PhysicalMax;
    HIDP_RANGE Range;
} HIDP_VALUE_CAPS;
C_ASSERT(sizeof(HIDP_COLLECTION_DESC) == 40 && sizeof(HIDP_CAPS) == 64);
C_ASSERT(sizeof(HIDP_BUTTON_CAPS) == 72 && sizeof(HIDP_VALUE_CAPS) == 72);
enum { HidP_Input, HidP_Output, HidP_Feature };

/* The library's routines: the Microsoft calling convention. */
static NTSTATUS(KI_MSABI *GetCollectionDescription)(const UCHAR *Descriptor, ULONG Length, ULONG PoolType,
                                                    HIDP_DEVICE_DESC *Device);
static VOID(KI_MSABI *FreeCollectionDescription)(HIDP_DEVICE_DESC *Device);
static NTSTATUS(KI_MSABI *GetCaps)(PVOID Preparsed, HIDP_CAPS *Caps);
static NTSTATUS(KI_MSABI *GetButtonCaps)(ULONG Type, HIDP_BUTTON_CAPS *Caps, USHORT *Count, PVOID Preparsed);
static NTSTATUS(KI_MSABI *GetValueCaps)(ULONG Type, HIDP_VALUE_CAPS *Caps, USHORT *Count, PVOID Preparsed);
static NTSTATUS(KI_MSABI *GetUsages)(ULONG Type, USAGE Page, USHORT Link, USAGE *List, ULONG *Count, PVOID Preparsed,
                                     UCHAR *Report, ULONG Length);
static NTSTATUS(KI_MSABI *GetUsageValue)(ULONG Type, USAGE Page, USHORT Link, USAGE Usage, ULONG *Value, PVOID Preparsed,
                                         UCHAR *Report, ULONG Length);
static NTSTATUS(KI_MSABI *GetScaledUsageValue)(ULONG Type, USAGE Page, USHORT Link, USAGE Usage, LONG *Value, PVOID Preparsed,
                                               UCHAR *Report, ULONG Length);

/* Boot mouse: three buttons, five bits of padding, X and Y as signed bytes, relative. */
static const UCHAR Mouse[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,             /* Mouse { Pointer { */
    0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01,             /* buttons 1..3, 0..1 */
    0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x03, /* 3 x 1 bit, 5 constant */
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7f,             /* X, Y: -127..127 */
    0x75, 0x08, 0x95, 0x02, 0x81, 0x06, 0xc0, 0xc0,                         /* 2 x 8 bits, relative } } */
};

/* Boot keyboard: eight modifiers, a reserved byte, five LEDs out, six key codes; 0 is outside the logical range, no key. */
static const UCHAR Keyboard[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                                                             /* Keyboard { */
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, /* modifiers */
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01,                                                             /* reserved */
    0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02,                         /* LEDs */
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01,                                                             /* padding */
    0x95, 0x06, 0x75, 0x08, 0x15, 0x01, 0x25, 0x65, 0x05, 0x07, 0x19, 0x01, 0x29, 0x65, 0x81, 0x00, /* keys } */
    0xc0,
};

/* A gamepad with report ID 3: four sticks axes, a hat switch in degrees with a null state, ten buttons, two vendor bytes out. */
static const UCHAR Gamepad[] = {
    0x05, 0x01, 0x09, 0x05, 0xa1, 0x01, 0x85, 0x03,                                           /* Gamepad, report 3 { */
    0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x04,                                     /* 0..255, 4 x 8 bits */
    0x09, 0x30, 0x09, 0x31, 0x09, 0x32, 0x09, 0x35, 0x81, 0x02,                               /* X Y Z Rz */
    0x25, 0x07, 0x35, 0x00, 0x46, 0x3b, 0x01, 0x65, 0x14, 0x75, 0x04, 0x95, 0x01, 0x09, 0x39, /* 0..7 is 0..315 degrees */
    0x81, 0x42,                                                                               /* hat, null state */
    0x65, 0x00, 0x45, 0x00, 0x75, 0x04, 0x81, 0x03,                                           /* padding */
    0x05, 0x09, 0x19, 0x01, 0x29, 0x0a, 0x25, 0x01, 0x75, 0x01, 0x95, 0x0a, 0x81, 0x02,       /* buttons 1..10 */
    0x75, 0x06, 0x95, 0x01, 0x81, 0x03,                                                       /* padding */
    0x06, 0x00, 0xff, 0x09, 0x20, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x02, 0x91, 0x02, 0xc0, /* vendor } */
};

/* ---- what its debug channels import: no channel is on ---- */
static UCHAR UserBlock[4096]; /* what gs:30h shows to user-mode code */
static KI_MSABI PVOID NoModule(const WCHAR *Name)
{
    (void)Name;
    return NULL;
}
static KI_MSABI PVOID NoRoutine(PVOID Module, const CHAR *Name)
{
    (void)Module;
    (void)Name;
    return NULL;
}
static KI_MSABI CHAR *NoVariable(const CHAR *Name)
{
    (void)Name;
    return NULL;
}
/* Number * Numerator / Denominator, rounded to the nearest, half away from zero. */
static KI_MSABI INT MultiplyDivide(INT Number, INT Numerator, INT Denominator)
{
    LONG64 Product = (LONG64)Number * Numerator, Half = Denominator / 2;
    if (Denominator == 0) {
        return -1;
    }
    return (INT)((Product + ((Product < 0) == (Denominator < 0) ? Half : -Half)) / Denominator);
}
static KI_MSABI PVOID HostCalloc(size_t Count, size_t Size)
{
    return calloc(Count, Size);
}
static KI_MSABI PVOID HostRealloc(PVOID Block, size_t Size)
{
    return realloc(Block, Size);
}
static KI_MSABI VOID HostFree(PVOID Block)
{
    free(Block);
}
/* A message about a bad descriptor: nobody reads it. */
static KI_MSABI INT NoText(ULONG64 Options, CHAR *Buffer, size_t Size)
{
    (void)Options;
    if (Size != 0) {
        Buffer[0] = 0;
    }
    return 0;
}
static KI_MSABI PVOID NoStream(ULONG Index)
{
    (void)Index;
    return UserBlock;
}
static KI_MSABI size_t NoWrite(const VOID *Bytes, size_t Size, size_t Count)
{
    (void)Bytes;
    (void)Size;
    return Count;
}
static const LDR_ENTRY Kernel32[] = {{"GetModuleHandleW", (PVOID)NoModule, NULL, FALSE},
                                     {"GetProcAddress", (PVOID)NoRoutine, NULL, FALSE},
                                     {"MulDiv", (PVOID)MultiplyDivide, NULL, FALSE}};
static LDR_ENTRY Runtime[] = {{"getenv", (PVOID)NoVariable, NULL, FALSE},
                              {"calloc", (PVOID)HostCalloc, NULL, FALSE},
                              {"realloc", (PVOID)HostRealloc, NULL, FALSE},
                              {"free", (PVOID)HostFree, NULL, FALSE},
                              {"__stdio_common_vsprintf", (PVOID)NoText, NULL, FALSE},
                              {"__acrt_iob_func", (PVOID)NoStream, NULL, FALSE},
                              {"fwrite", (PVOID)NoWrite, NULL, FALSE},
                              /* the border has these */
                              {"strlen", NULL, NULL, FALSE},
                              {"strcpy", NULL, NULL, FALSE},
                              {"strcmp", NULL, NULL, FALSE},
                              {"strchr", NULL, NULL, FALSE},
                              {"strcspn", NULL, NULL, FALSE},
                              {"memcmp", NULL, NULL, FALSE},
                              {"memmove", NULL, NULL, FALSE}};
static LDR_IMAGE *Image;
static EXP_POOL_TOTALS Before[2];

static int Load(void **State)
{
    CHAR Error[LDR_ERROR_CHARS];
    for (ULONG Index = 0; Index < ARRAYSIZE(Runtime); Index++) {
        if (Runtime[Index].Border == NULL) {
            Runtime[Index].Border = LdrFindEntry(Runtime[Index].Name)->Border;
        }
    }
    BOOLEAN Supplied = LdrSupplyModule("kernel32.dll", Kernel32, ARRAYSIZE(Kernel32)) &&
                       LdrSupplyModule("ucrtbase.dll", Runtime, ARRAYSIZE(Runtime));
    const char *Text = getenv("NTMM_OPTIONS"); /* tests/real/citizens.sh: everything on */
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    if ((Text != NULL && ntmm_parse_options(Text, &Options) < 0) || ntmm_start(&Options) != 0 || !Supplied) {
        print_error("start: %s\n", ntmm_error());
        return -1;
    }
    if (!NT_SUCCESS(LdrLoadImage(HIDPARSE, NULL, 0, &Image, Error, sizeof(Error)))) {
        print_error("%s: %s (the package libwine has it)\n", HIDPARSE, Error);
        return -1;
    }
    *(PVOID *)((PUCHAR)KiCurrentThread()->Pcr + 0x30) = UserBlock;
    static const struct {
        const CHAR *Name;
        PVOID *Routine;
    } Routines[] = {{"HidP_GetCollectionDescription", (PVOID *)&GetCollectionDescription},
                    {"HidP_FreeCollectionDescription", (PVOID *)&FreeCollectionDescription},
                    {"HidP_GetCaps", (PVOID *)&GetCaps},
                    {"HidP_GetButtonCaps", (PVOID *)&GetButtonCaps},
                    {"HidP_GetValueCaps", (PVOID *)&GetValueCaps},
                    {"HidP_GetUsages", (PVOID *)&GetUsages},
                    {"HidP_GetUsageValue", (PVOID *)&GetUsageValue},
                    {"HidP_GetScaledUsageValue", (PVOID *)&GetScaledUsageValue}};
    for (ULONG Index = 0; Index < ARRAYSIZE(Routines); Index++) {
        *Routines[Index].Routine = LdrFindExport(Image, Routines[Index].Name);
        if (*Routines[Index].Routine == NULL) {
            print_error("hidparse.sys does not export %s\n", Routines[Index].Name);
            return -1;
        }
    }
    ExpQueryPool(FALSE, &Before[0]);
    ExpQueryPool(TRUE, &Before[1]);
    return 0;
}

static int Unload(void **State)
{
    (void)State;
    return NT_SUCCESS(LdrUnloadImage(Image)) && ntmm_stop() == 0 ? 0 : -1;
}

/* One collection of the descriptor, its pool bytes counted. */
static HIDP_DEVICE_DESC Device;
static PVOID Parse(const UCHAR *Descriptor, ULONG Length, HIDP_CAPS *Caps)
{
    EXP_POOL_TOTALS Now;
    memset(&Device, 0, sizeof(Device));
    assert_int_equal(GetCollectionDescription(Descriptor, Length, 1 /* PagedPool */, &Device), HIDP_STATUS_SUCCESS);
    assert_int_equal(Device.CollectionDescLength, 1);
    assert_non_null(Device.CollectionDesc);
    ExpQueryPool(TRUE, &Now);
    assert_true(Now.Allocs > Before[1].Allocs);
    assert_true(Now.Bytes >=
                Before[1].Bytes + (LONG64)sizeof(HIDP_COLLECTION_DESC) + Device.CollectionDesc->PreparsedDataLength);
    EXP_BLOCK_INFO Block;
    assert_true(ExpDescribeBlock(Device.CollectionDesc, &Block));
    assert_int_equal(Block.State, ExpBlockLive);
    assert_int_equal(GetCaps(Device.CollectionDesc->PreparsedData, Caps), HIDP_STATUS_SUCCESS);
    assert_int_equal(Caps->InputReportByteLength, Device.CollectionDesc->InputLength);
    return Device.CollectionDesc->PreparsedData;
}

static void GiveBack(void)
{
    EXP_POOL_TOTALS Now;
    PVOID Preparsed = Device.CollectionDesc->PreparsedData;
    FreeCollectionDescription(&Device);
    ExFreePool(Preparsed); /* the class driver's to keep and to free */
    for (int Paged = 0; Paged < 2; Paged++) {
        ExpQueryPool((BOOLEAN)Paged, &Now);
        assert_int_equal(Now.Bytes, Before[Paged].Bytes);
        assert_int_equal(Now.Allocs - Before[Paged].Allocs, Now.Frees - Before[Paged].Frees);
    }
}

static void Mouse_BootProtocol_HasButtonsAndTwoAxes(void **State)
{
    HIDP_CAPS Caps;
    HIDP_BUTTON_CAPS Buttons[4];
    HIDP_VALUE_CAPS Values[4];
    USHORT Count;
    (void)State;
    PVOID Data = Parse(Mouse, sizeof(Mouse), &Caps);
    assert_int_equal(Caps.UsagePage, 1);
    assert_int_equal(Caps.Usage, 2);
    assert_int_equal(Caps.InputReportByteLength, 4); /* a report ID byte, buttons, X, Y */
    assert_int_equal(Caps.OutputReportByteLength, 0);
    assert_int_equal(Caps.FeatureReportByteLength, 0);
    assert_int_equal(Caps.NumberLinkCollectionNodes, 2);
    assert_int_equal(Caps.NumberInputButtonCaps, 1);
    assert_int_equal(Caps.NumberInputValueCaps, 2);
    Count = ARRAYSIZE(Buttons);
    assert_int_equal(GetButtonCaps(HidP_Input, Buttons, &Count, Data), HIDP_STATUS_SUCCESS);
    assert_int_equal(Count, 1);
    assert_int_equal(Buttons[0].UsagePage, 9);
    assert_true(Buttons[0].IsRange);
    assert_true(Buttons[0].IsAbsolute);
    assert_int_equal(Buttons[0].Range.UsageMin, 1);
    assert_int_equal(Buttons[0].Range.UsageMax, 3);
    Count = ARRAYSIZE(Values);
    assert_int_equal(GetValueCaps(HidP_Input, Values, &Count, Data), HIDP_STATUS_SUCCESS);
    assert_int_equal(Count, 2);
    ULONG Seen = 0;
    for (ULONG Index = 0; Index < 2; Index++) {
        assert_int_equal(Values[Index].UsagePage, 1);
        assert_int_equal(Values[Index].BitSize, 8);
        assert_int_equal(Values[Index].ReportCount, 1);
        assert_int_equal(Values[Index].LogicalMin, -127);
        assert_int_equal(Values[Index].LogicalMax, 127);
        assert_false(Values[Index].IsAbsolute);
        Seen |= 1u << (Values[Index].Range.UsageMin - 0x30);
    }
    assert_int_equal(Seen, 3);
    UCHAR Report[4] = {0, 0x05, 0x0a, 0xf6}; /* buttons 1 and 3, X 10, Y -10 */
    USAGE Usages[8];
    ULONG Number = ARRAYSIZE(Usages), Value;
    LONG Scaled;
    assert_int_equal(GetUsages(HidP_Input, 9, 0, Usages, &Number, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Number, 2);
    assert_int_equal(Usages[0] + Usages[1], 4);
    assert_int_equal(GetUsageValue(HidP_Input, 1, 0, 0x30, &Value, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Value, 10);
    assert_int_equal(GetScaledUsageValue(HidP_Input, 1, 0, 0x31, &Scaled, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Scaled, -10);
    GiveBack();
}

static void Keyboard_BootProtocol_HasModifiersKeysAndLeds(void **State)
{
    HIDP_CAPS Caps;
    HIDP_BUTTON_CAPS Buttons[4];
    USHORT Count;
    (void)State;
    PVOID Data = Parse(Keyboard, sizeof(Keyboard), &Caps);
    assert_int_equal(Caps.UsagePage, 1);
    assert_int_equal(Caps.Usage, 6);
    assert_int_equal(Caps.InputReportByteLength, 9);
    assert_int_equal(Caps.OutputReportByteLength, 2);
    assert_int_equal(Caps.NumberLinkCollectionNodes, 1);
    assert_int_equal(Caps.NumberInputButtonCaps, 2);
    assert_int_equal(Caps.NumberInputValueCaps, 0);
    assert_int_equal(Caps.NumberOutputButtonCaps, 1);
    Count = ARRAYSIZE(Buttons);
    assert_int_equal(GetButtonCaps(HidP_Input, Buttons, &Count, Data), HIDP_STATUS_SUCCESS);
    assert_int_equal(Count, 2);
    ULONG Modifiers = Buttons[0].Range.UsageMin == 0xe0 ? 0 : 1;
    assert_int_equal(Buttons[Modifiers].UsagePage, 7);
    assert_int_equal(Buttons[Modifiers].Range.UsageMin, 0xe0);
    assert_int_equal(Buttons[Modifiers].Range.UsageMax, 0xe7);
    assert_int_equal(Buttons[1 - Modifiers].UsagePage, 7);
    assert_int_equal(Buttons[1 - Modifiers].Range.UsageMin, 1);
    assert_int_equal(Buttons[1 - Modifiers].Range.UsageMax, 0x65);
    Count = ARRAYSIZE(Buttons);
    assert_int_equal(GetButtonCaps(HidP_Output, Buttons, &Count, Data), HIDP_STATUS_SUCCESS);
    assert_int_equal(Count, 1);
    assert_int_equal(Buttons[0].UsagePage, 8);
    assert_int_equal(Buttons[0].Range.UsageMin, 1);
    assert_int_equal(Buttons[0].Range.UsageMax, 5);
    UCHAR Report[9] = {0, 0x02, 0, 0x04, 0x1d, 0, 0, 0, 0}; /* left shift, A, Z */
    USAGE Usages[16];
    ULONG Number = ARRAYSIZE(Usages), Sum = 0;
    assert_int_equal(GetUsages(HidP_Input, 7, 0, Usages, &Number, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Number, 3);
    for (ULONG Index = 0; Index < Number; Index++) {
        Sum += Usages[Index];
    }
    assert_int_equal(Sum, 0xe1 + 0x04 + 0x1d);
    GiveBack();
}

static void Gamepad_WithReportId_HasAxesHatAndButtons(void **State)
{
    HIDP_CAPS Caps;
    HIDP_BUTTON_CAPS Buttons[4];
    HIDP_VALUE_CAPS Values[8], *Hat = NULL;
    USHORT Count;
    (void)State;
    PVOID Data = Parse(Gamepad, sizeof(Gamepad), &Caps);
    assert_int_equal(Device.ReportIDsLength, 1);
    assert_int_equal(Device.ReportIDs[0].ReportID, 3);
    assert_int_equal(Caps.UsagePage, 1);
    assert_int_equal(Caps.Usage, 5);
    assert_int_equal(Caps.InputReportByteLength, 8); /* ID, four axes, hat and padding, ten buttons and padding */
    assert_int_equal(Caps.OutputReportByteLength, 3);
    assert_int_equal(Caps.NumberInputButtonCaps, 1);
    assert_int_equal(Caps.NumberInputValueCaps, 5);
    assert_int_equal(Caps.NumberOutputValueCaps, 1);
    Count = ARRAYSIZE(Buttons);
    assert_int_equal(GetButtonCaps(HidP_Input, Buttons, &Count, Data), HIDP_STATUS_SUCCESS);
    assert_int_equal(Buttons[0].ReportID, 3);
    assert_int_equal(Buttons[0].Range.UsageMin, 1);
    assert_int_equal(Buttons[0].Range.UsageMax, 10);
    Count = ARRAYSIZE(Values);
    assert_int_equal(GetValueCaps(HidP_Input, Values, &Count, Data), HIDP_STATUS_SUCCESS);
    assert_int_equal(Count, 5);
    ULONG Axes = 0;
    for (ULONG Index = 0; Index < Count; Index++) {
        if (Values[Index].Range.UsageMin == 0x39) {
            Hat = &Values[Index];
            continue;
        }
        assert_int_equal(Values[Index].LogicalMin, 0);
        assert_int_equal(Values[Index].LogicalMax, 255);
        Axes |= 1u << (Values[Index].Range.UsageMin - 0x30);
    }
    assert_int_equal(Axes, 0x27); /* X Y Z Rz */
    assert_non_null(Hat);
    assert_int_equal(Hat->BitSize, 4);
    assert_true(Hat->HasNull);
    assert_int_equal(Hat->LogicalMax, 7);
    assert_int_equal(Hat->PhysicalMax, 315);
    assert_int_equal(Hat->Units, 0x14);
    UCHAR Report[8] = {3, 0x00, 0x80, 0xff, 0x7f, 0x02, 0x01, 0x02}; /* hat east, buttons 1 and 10 */
    USAGE Usages[16];
    ULONG Number = ARRAYSIZE(Usages), Value;
    LONG Scaled;
    assert_int_equal(GetUsageValue(HidP_Input, 1, 0, 0x32, &Value, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Value, 255);
    assert_int_equal(GetUsageValue(HidP_Input, 1, 0, 0x39, &Value, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Value, 2);
    assert_int_equal(GetScaledUsageValue(HidP_Input, 1, 0, 0x39, &Scaled, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Scaled, 90);
    assert_int_equal(GetUsages(HidP_Input, 9, 0, Usages, &Number, Data, Report, sizeof(Report)), HIDP_STATUS_SUCCESS);
    assert_int_equal(Number, 2);
    assert_int_equal(Usages[0] + Usages[1], 11);
    GiveBack();
}

static void Truncated_Descriptor_IsRefusedWithoutALeak(void **State)
{
    EXP_POOL_TOTALS Now;
    (void)State;
    memset(&Device, 0, sizeof(Device));
    if (GetCollectionDescription(Keyboard, 3, 1, &Device) == HIDP_STATUS_SUCCESS) {
        assert_int_equal(Device.CollectionDescLength, 0);
        FreeCollectionDescription(&Device);
    }
    ExpQueryPool(TRUE, &Now);
    assert_int_equal(Now.Bytes, Before[1].Bytes);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Mouse_BootProtocol_HasButtonsAndTwoAxes),
        cmocka_unit_test(Keyboard_BootProtocol_HasModifiersKeysAndLeds),
        cmocka_unit_test(Gamepad_WithReportId_HasAxesHatAndButtons),
        cmocka_unit_test(Truncated_Descriptor_IsRefusedWithoutALeak),
    };
    return cmocka_run_group_tests(Tests, Load, Unload);
}
