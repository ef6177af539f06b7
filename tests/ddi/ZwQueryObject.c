/*
 * ZwQueryObject, ZwQueryInformationProcess and the names of services: one test per documented sentence. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <ntifs.h>
#include "ntmm.h"

static HANDLE NamedEvent(PCWSTR Text)
{
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name;
    HANDLE Handle;
    RtlInitUnicodeString(&Name, Text);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, FALSE), STATUS_SUCCESS);
    return Handle;
}

/* ZwQueryObject: PUBLIC_OBJECT_BASIC_INFORMATION has the granted access and the counts of handles and references. */
static void Basic_HasAccessAndCounts(void **state)
{
    PUBLIC_OBJECT_BASIC_INFORMATION Basic;
    ULONG Length = 0;
    HANDLE Second, Handle = NamedEvent(L"\\BaseNamedObjects\\query_basic");
    (void)state;
    assert_int_equal(ZwQueryObject(Handle, ObjectBasicInformation, &Basic, sizeof(Basic), &Length), STATUS_SUCCESS);
    assert_int_equal(Length, sizeof(Basic));
    assert_int_equal(Basic.GrantedAccess, EVENT_ALL_ACCESS);
    assert_int_equal(Basic.HandleCount, 1);
    ULONG References = Basic.PointerCount;
    assert_int_equal(ZwDuplicateObject(ZwCurrentProcess(), Handle, ZwCurrentProcess(), &Second, SYNCHRONIZE, 0, 0),
                     STATUS_SUCCESS);
    assert_int_equal(ZwQueryObject(Second, ObjectBasicInformation, &Basic, sizeof(Basic), NULL), STATUS_SUCCESS);
    assert_int_equal(Basic.GrantedAccess, SYNCHRONIZE);
    assert_int_equal(Basic.HandleCount, 2);
    assert_int_equal(Basic.PointerCount, References + 1);
    ZwClose(Second);
    ZwClose(Handle);
}

static void NameAndType_FollowTheirStructure(void **state)
{
    union {
        OBJECT_NAME_INFORMATION Name;
        PUBLIC_OBJECT_TYPE_INFORMATION Type;
        UCHAR Bytes[512];
    } Buffer;
    UNICODE_STRING Expected = RTL_CONSTANT_STRING(L"\\BaseNamedObjects\\query_name"), Event = RTL_CONSTANT_STRING(L"Event");
    ULONG Length = 0;
    HANDLE Handle = NamedEvent(L"\\BaseNamedObjects\\query_name");
    (void)state;
    assert_int_equal(ZwQueryObject(Handle, ObjectNameInformation, &Buffer, sizeof(Buffer), &Length), STATUS_SUCCESS);
    assert_true(RtlEqualUnicodeString(&Buffer.Name.Name, &Expected, FALSE));
    assert_int_equal(ZwQueryObject(Handle, ObjectNameInformation, &Buffer, Length - 1, NULL), STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(ZwQueryObject(Handle, ObjectTypeInformation, &Buffer, sizeof(Buffer), &Length), STATUS_SUCCESS);
    assert_true(RtlEqualUnicodeString(&Buffer.Type.TypeName, &Event, FALSE));
    assert_ptr_equal(Buffer.Type.TypeName.Buffer, &Buffer.Type + 1);
    assert_int_equal(ZwQueryObject(Handle, ObjectTypeInformation, &Buffer, Length - 1, NULL), STATUS_INFO_LENGTH_MISMATCH);
    ZwClose(Handle);
}

/* "STATUS_INFO_LENGTH_MISMATCH: The info length is not sufficient to hold the data"; "STATUS_INVALID_HANDLE". */
static void Refusals_AreTheDocumentedStatuses(void **state)
{
    PUBLIC_OBJECT_BASIC_INFORMATION Basic;
    ULONG Length = 0;
    HANDLE Handle = NamedEvent(L"\\BaseNamedObjects\\query_refused");
    (void)state;
    assert_int_equal(ZwQueryObject(Handle, ObjectBasicInformation, &Basic, sizeof(Basic) - 1, &Length),
                     STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(Length, sizeof(Basic));
    assert_int_equal(ZwQueryObject(Handle, (OBJECT_INFORMATION_CLASS)77, &Basic, sizeof(Basic), NULL),
                     STATUS_INVALID_INFO_CLASS);
    ZwClose(Handle);
    assert_int_equal(ZwQueryObject(Handle, ObjectBasicInformation, &Basic, sizeof(Basic), NULL), STATUS_INVALID_HANDLE);
}

/* ZwQueryInformationProcess: "a unique value used by the system to identify the specified process". */
static void Process_Basic_IsTheCurrentOne(void **state)
{
    PROCESS_BASIC_INFORMATION Basic;
    ULONG Length = 0;
    (void)state;
    assert_int_equal(ZwQueryInformationProcess(ZwCurrentProcess(), ProcessBasicInformation, &Basic, sizeof(Basic), &Length),
                     STATUS_SUCCESS);
    assert_int_equal(Length, sizeof(Basic));
    assert_int_equal(Basic.UniqueProcessId, (ULONG_PTR)PsGetCurrentProcessId());
    assert_int_equal(Basic.InheritedFromUniqueProcessId,
                     (ULONG_PTR)PsGetProcessInheritedFromUniqueProcessId(PsGetCurrentProcess()));
    assert_int_equal(Basic.ExitStatus, STATUS_PENDING);
    assert_int_equal(Basic.AffinityMask, KeQueryActiveProcessors());
    assert_int_equal(ZwQueryInformationProcess(ZwCurrentProcess(), ProcessBasicInformation, &Basic, sizeof(Basic) - 8, &Length),
                     STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(ZwQueryInformationProcess(ZwCurrentProcess(), (PROCESSINFOCLASS)1000, &Basic, sizeof(Basic), NULL),
                     STATUS_INVALID_INFO_CLASS);
}

/* "ProcessImageFileName: a UNICODE_STRING value"; its text follows it. */
static void Process_ImageFileName_FollowsItsStructure(void **state)
{
    union {
        UNICODE_STRING Name;
        UCHAR Bytes[256];
    } Buffer;
    UNICODE_STRING System = RTL_CONSTANT_STRING(L"System");
    ULONG Length = 0;
    (void)state;
    assert_int_equal(ZwQueryInformationProcess(ZwCurrentProcess(), ProcessImageFileName, NULL, 0, &Length),
                     STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(Length, sizeof(UNICODE_STRING) + System.Length + sizeof(WCHAR));
    assert_int_equal(ZwQueryInformationProcess(ZwCurrentProcess(), ProcessImageFileName, &Buffer, Length, NULL),
                     STATUS_SUCCESS);
    assert_true(RtlEqualUnicodeString(&Buffer.Name, &System, FALSE));
}

static NTSTATUS Load(PCWSTR Text)
{
    UNICODE_STRING Name;
    RtlInitUnicodeString(&Name, Text);
    return ZwLoadDriver(&Name);
}

/* ZwLoadDriver: "a path to the driver's registry key, \Registry\Machine\System\CurrentControlSet\Services\<DriverName>". */
static void LoadDriver_WantsAServicesKey(void **state)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\nobody");
    (void)state;
    assert_int_equal(Load(L"nobody"), STATUS_INVALID_PARAMETER);
    assert_int_equal(Load(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\"), STATUS_INVALID_PARAMETER);
    assert_int_equal(Load(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\a\\b"), STATUS_INVALID_PARAMETER);
    assert_int_equal(ZwLoadDriver(&Name), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_int_equal(ZwUnloadDriver(&Name), STATUS_OBJECT_NAME_NOT_FOUND);
}

/* A service whose ImagePath is no string, and one whose file is nowhere. */
static void LoadDriver_OfABadService_IsRefused(void **state)
{
    ULONG Number = 5;
    static const WCHAR Path[] = L"\\??\\Q:\\nowhere.sys";
    (void)state;
    assert_int_equal(RtlCreateRegistryKey(RTL_REGISTRY_SERVICES, (PWSTR)L"bad"), STATUS_SUCCESS);
    assert_int_equal(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, L"bad", L"ImagePath", REG_DWORD, &Number, sizeof(Number)),
                     STATUS_SUCCESS);
    assert_int_equal(Load(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\bad"), STATUS_ILL_FORMED_SERVICE_ENTRY);
    assert_int_equal(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, L"bad", L"ImagePath", REG_SZ, (PVOID)Path, sizeof(Path)),
                     STATUS_SUCCESS);
    assert_false(NT_SUCCESS(Load(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\bad")));
}

static int Start(void **state)
{
    (void)state;
    return ntmm_start(NULL);
}

static int Stop(void **state)
{
    (void)state;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Basic_HasAccessAndCounts),
        cmocka_unit_test(NameAndType_FollowTheirStructure),
        cmocka_unit_test(Refusals_AreTheDocumentedStatuses),
        cmocka_unit_test(Process_Basic_IsTheCurrentOne),
        cmocka_unit_test(Process_ImageFileName_FollowsItsStructure),
        cmocka_unit_test(LoadDriver_WantsAServicesKey),
        cmocka_unit_test(LoadDriver_OfABadService_IsRefused),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
