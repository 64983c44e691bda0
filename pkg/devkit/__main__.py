from pkg.devkit.cli import main

main()
