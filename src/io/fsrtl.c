/*
 * fsrtl.c - what a file system driver asks about a file object. SPDX-License-Identifier: MIT
 *
 * Page files belong to the machine below and have no file objects, and the folder that stands for drive C: is no persistent
 * memory: so every file object that a driver can have is an ordinary one. IRQL <= DISPATCH_LEVEL.
 */
#include "io/iopp.h"

/* One read of the object, so that a bad pointer is noticed here as it would be on Windows. */
LOGICAL FsRtlIsPagingFile(PFILE_OBJECT FileObject)
{
    KiTouch(FileObject);
    return FALSE;
}

LOGICAL FsRtlIsSystemPagingFile(PFILE_OBJECT FileObject)
{
    KiTouch(FileObject);
    return FALSE;
}

BOOLEAN FsRtlIsDaxVolume(PFILE_OBJECT FileObject)
{
    KiTouch(FileObject);
    return FALSE;
}
