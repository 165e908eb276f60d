@echo off
rem What the scheduled task of windows.ps1 runs: the bot, and again where it has died.
rem     windows-run.cmd PYTHON CONFIG LOG
rem It ends where that was asked for (0), and where a setting is wrong (2): the log says which.
setlocal
:again
rem one older log is kept, so that they don't grow for ever
if exist "%~3" for %%f in ("%~3") do if %%~zf gtr 20000000 move /y "%~3" "%~3.old" >nul
"%~1" -m bot --config "%~2" run >>"%~3" 2>&1
if %errorlevel% equ 0 exit /b 0
if %errorlevel% equ 2 exit /b 2
rem ten seconds; "timeout" wants a console
ping -n 11 127.0.0.1 >nul
goto again
