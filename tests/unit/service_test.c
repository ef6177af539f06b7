/*
 * service_test.c - ZwLoadDriver and ZwUnloadDriver with a driver's file on drive C:. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <ntifs.h>
#include "io/iop.h"
#include "ldr/ldr.h"
#include "ntmm.h"

#define SERVICES L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\"

static char Folder[64] = "/tmp/ntmm-service-XXXXXX";
static UNICODE_STRING Key = RTL_CONSTANT_STRING(SERVICES L"other");
static UNICODE_STRING DriverName = RTL_CONSTANT_STRING(L"\\Driver\\other");
static unsigned Notified;
static WCHAR NotifiedName[128];

static int Copy(const char *From, const char *To)
{
    char command[512];
    snprintf(command, sizeof command, "cp '%s' '%s'", From, To);
    return system(command);
}

static int Start(void **State)
{
    char path[256];
    ntmm_options Options;
    (void)State;
    if (mkdtemp(Folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/Windows", Folder);
    if (mkdir(path, 0700) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/Windows/loadme.sys", Folder);
    if (Copy(NTMM_SYS "/loadme.sys", path) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/refuses.tmp", Folder);
    if (Copy(NTMM_SYS "/refuses.sys", path) != 0)
        return -1;
    ntmm_default_options(&Options);
    snprintf(Options.drive, sizeof Options.drive, "%s", Folder);
    return ntmm_start(&Options);
}

static int Stop(void **State)
{
    char command[512];
    (void)State;
    int result = ntmm_stop();
    snprintf(command, sizeof command, "rm -r '%s'", Folder);
    return system(command) != 0 ? -1 : result;
}

static void Service(const WCHAR *ImagePath)
{
    UNICODE_STRING Text;
    RtlInitUnicodeString(&Text, ImagePath);
    assert_int_equal(RtlCreateRegistryKey(RTL_REGISTRY_SERVICES, (PWSTR)L"other"), STATUS_SUCCESS);
    assert_int_equal(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, L"other", L"ImagePath", REG_EXPAND_SZ, (PVOID)ImagePath,
                                           Text.Length + (ULONG)sizeof(WCHAR)),
                     STATUS_SUCCESS);
}

static BOOLEAN Exists(void)
{
    PDRIVER_OBJECT Driver;
    if (!NT_SUCCESS(ObReferenceObjectByName(&DriverName, OBJ_CASE_INSENSITIVE, NULL, 0, *IoDriverObjectType, KernelMode, NULL,
                                            (PVOID *)&Driver)))
        return FALSE;
    ObDereferenceObject(Driver);
    return TRUE;
}

/* Each form of an ImagePath leads to the same file. */
static void Load_ByEachFormOfPath_MakesTheServicesDriver(void **State)
{
    static const WCHAR *const Paths[] = {L"\\SystemRoot\\loadme.sys", L"%SystemRoot%\\loadme.sys", L"loadme.sys",
                                         L"C:\\windows\\LOADME.SYS", L"\\??\\C:\\windows\\loadme.sys"};
    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Paths); Index++) {
        Service(Paths[Index]);
        assert_int_equal(ZwLoadDriver(&Key), STATUS_SUCCESS);
        assert_true(Exists());
        assert_int_equal(ZwLoadDriver(&Key), STATUS_IMAGE_ALREADY_LOADED);
        assert_int_equal(ZwUnloadDriver(&Key), STATUS_SUCCESS);
        assert_false(Exists());
        assert_int_equal(ZwUnloadDriver(&Key), STATUS_OBJECT_NAME_NOT_FOUND);
    }
}

static VOID OnLoad(PUNICODE_STRING FullImageName, HANDLE ProcessId, PIMAGE_INFO Info)
{
    Notified++;
    assert_null(ProcessId); /* "zero if the newly loaded image is a driver" */
    assert_true(Info->SystemModeImage);
    memcpy(NotifiedName, FullImageName->Buffer, FullImageName->Length);
    NotifiedName[FullImageName->Length / sizeof(WCHAR)] = 0;
}

/* PsSetLoadImageNotifyRoutine: the routine is given the name of the image's file. */
static void Load_Notifies_WithTheFilesName(void **State)
{
    UNICODE_STRING Expected = RTL_CONSTANT_STRING(L"\\Device\\NtmmDrive0\\windows\\loadme.sys"), Got;
    (void)State;
    Service(L"\\SystemRoot\\loadme.sys");
    assert_int_equal(PsSetLoadImageNotifyRoutine(OnLoad), STATUS_SUCCESS);
    assert_int_equal(ZwLoadDriver(&Key), STATUS_SUCCESS);
    assert_int_equal(Notified, 1);
    RtlInitUnicodeString(&Got, NotifiedName);
    assert_true(RtlEqualUnicodeString(&Got, &Expected, TRUE));
    assert_int_equal(PsRemoveLoadImageNotifyRoutine(OnLoad), STATUS_SUCCESS);
    assert_int_equal(ZwUnloadDriver(&Key), STATUS_SUCCESS);
}

/* A file that is not there, one that is no image, and a DriverEntry that refuses, leave nothing behind. */
static void Load_ThatFails_LeavesNothing(void **State)
{
    char path[256];
    FILE *File;
    (void)State;
    Service(L"\\SystemRoot\\missing.sys");
    assert_int_equal(ZwLoadDriver(&Key), STATUS_OBJECT_NAME_NOT_FOUND);
    snprintf(path, sizeof path, "%s/text.sys", Folder);
    assert_non_null(File = fopen(path, "w"));
    fputs("no image\n", File);
    fclose(File);
    Service(L"C:\\text.sys");
    assert_int_equal(ZwLoadDriver(&Key), STATUS_INVALID_IMAGE_FORMAT);
    Service(L"C:\\refuses.tmp");
    assert_false(NT_SUCCESS(ZwLoadDriver(&Key)));
    assert_false(Exists());
}

/* ZwUnloadDriver refuses what ZwLoadDriver did not load, and a driver whose device is open. */
static void Unload_OfWhatIsNotItsOwnOrBusy_IsRefused(void **State)
{
    UNICODE_STRING Hosts = RTL_CONSTANT_STRING(SERVICES L"loadme");
    ntmm_driver *Driver;
    ntmm_file *File;
    (void)State;
    assert_int_equal(ntmm_load_driver(NTMM_SYS "/loadme.sys", &Driver), STATUS_SUCCESS);
    assert_int_equal(ZwUnloadDriver(&Hosts), STATUS_INVALID_DEVICE_REQUEST);
    assert_int_equal(ntmm_remove_driver(Driver, NULL), STATUS_SUCCESS);
    Service(L"loadme.sys");
    assert_int_equal(ZwLoadDriver(&Key), STATUS_SUCCESS);
    assert_int_equal(ntmm_open("LoadMe", &File), STATUS_SUCCESS);
    assert_int_equal(ZwUnloadDriver(&Key), STATUS_DEVICE_BUSY);
    assert_int_equal(ntmm_close(File), STATUS_SUCCESS);
    assert_int_equal(ZwUnloadDriver(&Key), STATUS_SUCCESS);
}

/* The system's stop unloads it; must be the last test. */
static void Stop_UnloadsWhatIsLoadedStill(void **State)
{
    (void)State;
    Service(L"loadme.sys");
    assert_int_equal(ZwLoadDriver(&Key), STATUS_SUCCESS);
    assert_true(Exists());
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Load_ByEachFormOfPath_MakesTheServicesDriver),
        cmocka_unit_test(Load_Notifies_WithTheFilesName),
        cmocka_unit_test(Load_ThatFails_LeavesNothing),
        cmocka_unit_test(Unload_OfWhatIsNotItsOwnOrBusy_IsRefused),
        cmocka_unit_test(Stop_UnloadsWhatIsLoadedStill),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
