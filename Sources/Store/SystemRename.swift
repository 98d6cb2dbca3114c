// SPDX-License-Identifier: Apache-2.0
//
// Renames that never take the place of another file, and names that change places. renameat2(2).

import CLinux
import Glibc

extension System {
    enum Moved { case done, noSource, targetExists, notHere }

    /// Renames, but never over another file. `.notHere`: to another file system.
    static func move(
        _ name: PathOctets, in directory: Int32, to target: PathOctets, in parent: Int32
    ) throws(StoreError) -> Moved {
        let result = unsafe name.withPath { name in
            unsafe target.withPath { target in
                unsafe martlet_rename_new(directory, name, parent, target)
            }
        }
        if result == 0 { return .done }
        switch errno {
        case ENOENT: return .noSource
        case EEXIST: return .targetExists
        case EXDEV: return .notHere
        case EINVAL, ENOSYS:  // a file system that cannot promise it
            if try status(target, in: parent) != nil { return .targetExists }
            return try rename(name, in: directory, to: target, in: parent) ? .done : .noSource
        default: throw .system("rename")
        }
    }

    enum Exchanged { case done, notBoth, notHere }

    /// Two names change places in one step. `.notHere`: a file system that cannot.
    static func exchange(
        _ name: PathOctets, in directory: Int32, with target: PathOctets, in parent: Int32
    ) throws(StoreError) -> Exchanged {
        let result = unsafe name.withPath { name in
            unsafe target.withPath { target in
                unsafe martlet_rename_exchange(directory, name, parent, target)
            }
        }
        if result == 0 { return .done }
        switch errno {
        case ENOENT: return .notBoth
        case EINVAL, ENOSYS: return .notHere
        default: throw .system("rename")
        }
    }
}
