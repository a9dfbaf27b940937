#!/bin/sh
# Prints the Python that sets up .venv: $PYTHON if set, else that of .venv, else the first suitable one.
# Each candidate is run, because a command may exist without working, such as an unselected python3.12 of pyenv.
is_suitable='import sys, importlib.util as i; sys.exit(sys.version_info < (3, 10) or not i.find_spec("ensurepip"))'
is_new_enough='import sys; sys.exit(sys.version_info < (3, 10))'
print_version='import sys; print("Python %d.%d at %s" % (sys.version_info[0], sys.version_info[1], sys.executable))'

if [ -n "$PYTHON" ]; then
  set -- "$PYTHON"
else # 3.12 first: it is Slicer's version
  set -- .venv/bin/python python3.12 python3.13 python3.11 python3.10 python3.14 python3 python
fi

too_old=
bare=
for candidate in "$@"; do
  if "$candidate" -c "$is_suitable" 2>/dev/null; then
    echo "$candidate"
    exit 0
  fi
  found=$("$candidate" -c "$print_version" 2>/dev/null) || continue
  if "$candidate" -c "$is_new_enough" 2>/dev/null; then
    bare=${bare:-$found}
  else
    too_old=${too_old:-$found}
  fi
done

remedy='or set one: make PYTHON=/path/to/python3.12'
if [ -n "$bare" ]; then
  version=${bare#Python }
  echo "$bare cannot create virtual environments; install the missing package" \
    "(Debian, Ubuntu: sudo apt install python${version%% *}-venv), $remedy" >&2
elif [ -n "$too_old" ]; then
  echo "SpleenSmoothSeg needs Python 3.10 or newer, but found only $too_old; install a newer one, $remedy" >&2
elif [ -n "$PYTHON" ]; then
  echo "PYTHON=$PYTHON does not run as Python 3; check the path, or omit it to search for one." >&2
else
  echo "SpleenSmoothSeg needs Python 3.10 or newer, but none was found; install one, $remedy" >&2
fi
exit 1
