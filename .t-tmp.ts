import { csv, jsonLines } from './worker/data/index.js';
import { writeFileSync, existsSync, rmSync } from 'node:fs'; 
const p='/tmp/mnistlike.csv'; const N=20000, W=785;
if(!existsSync(p)){ const parts:string[]=[]; for(let i=0;i<N;i++){ parts.push(Array.from({length:W},(_,j)=>j===0?i%10:((i*j)%7===0?(i*31+j*17)%256:0)).join(',')); } writeFileSync(p, parts.join('\n')); }
const lim={memoryLimitBytes: Number(process.argv[2]??2**28)};
for(let k=0;k<2;k++){ const t=performance.now(); const d=await csv(p,{label:0,...lim}).open({baseDir:'/'}); console.log('csv open',(performance.now()-t).toFixed(0),'ms',d.length, (process.memoryUsage().rss/1e6).toFixed(0),'MB');
 const idx=Uint32Array.from({length:64},(_,i)=>(i*7919)%N); for(let r=0;r<3;r++){const t=performance.now(); for(let i=0;i<200;i++) await d.read(idx); console.log(' read 64', ((performance.now()-t)*5).toFixed(0),'us');} await d.close!(); }
let t=performance.now(); const m=await csv(p,{label:0,...lim}).normalize({scale:1/255}).open({baseDir:'/'}); console.log('normalized',(performance.now()-t).toFixed(0));
t=performance.now(); await (await csv(p,{label:0,...lim}).normalize().open({baseDir:'/'})).close!(); console.log('fitted',(performance.now()-t).toFixed(0)); await m.close!();
